"""PPO: its arithmetic, its trainer on TRL's GRPOTrainer, its critic, and its roles on one backbone."""
