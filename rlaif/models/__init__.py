"""Models: how they are loaded, how text becomes their tokens, how their work is batched and split over processes."""
