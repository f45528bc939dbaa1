"""Assessment: what a judge, a reward model and a policy are worth, against gold rewards, people's labels, each other.

truth             where the truth about a pair comes from: a gold reward function or the pair's label
agreement         judge against truth, over both orders
calibration       do pairs with z = 0.8 turn out 80 to 20?
length            does the longer response win, and should it?
rewards           reward model against truth and against the judge, on held-out preferences
wins              win rates on the same prompts, with paired intervals
overoptimization  from which step of training on does the reward rise while a held-out score falls?
best_of_n         what the best of n responses by a reward has on average, for every n
divergence        KL of a policy to its reference (the only module here that needs torch)
"""
