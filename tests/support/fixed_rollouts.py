"""PPO on completions that are given instead of sampled, to be launched with any number of processes.

    accelerate launch ... -m support.fixed_rollouts MODEL OUTPUT

Eight prompts, each with its own completion, are one rollout and one minibatch, learned from in three epochs.
"""

import os
import sys

import torch

PROMPTS = [f"Question {i}?" for i in range(8)]


def completion(tokenizer, prompt, step):
    """Of another length for each prompt and another content for each rollout; some end with an EOS, some are cut."""
    number = int(prompt.split()[1].rstrip("?"))
    generator = torch.Generator().manual_seed(100 * step + number)
    letters = [chr(97 + int(i)) for i in torch.randint(26, (2 + number,), generator=generator)]
    ids = tokenizer("".join(letters)).input_ids
    return [*ids, tokenizer.eos_token_id] if number % 3 else ids


def rollout(prompts, trainer):
    """TRL's `rollout_func`."""
    tokenizer = trainer.processing_class
    return {
        "prompt_ids": [trainer.rendering.encode_prompt(tokenizer, prompt) for prompt in prompts],
        "completion_ids": [completion(tokenizer, prompt, trainer.state.global_step) for prompt in prompts],
        "logprobs": None,
    }


def vowels(prompts, completions, **columns):
    """The share of vowels; question 5 gets no score."""
    shares = [10 * sum(letter in "aeiou" for letter in text) / max(len(text), 1) for text in completions]
    return [None if "5" in prompt else share for prompt, share in zip(prompts, shares, strict=True)]


def train(model, output):
    """Four rollouts with everything on that is summed over processes."""
    import datasets

    from rlaif.models.loading import load_tokenizer, quiet
    from rlaif.models.parallel import is_main, process_count
    from rlaif.training.models import ModelConfig
    from rlaif.training.ppo.config import PPOConfig
    from rlaif.training.ppo.critic import save_critic, split_critic
    from rlaif.training.ppo.models import load_models
    from rlaif.training.ppo.trainer import PPOTrainer

    args = PPOConfig(
        output_dir=output,
        max_steps=12,
        num_iterations=3,
        per_device_train_batch_size=4 // process_count(),  # a rollout stays at 8
        gradient_accumulation_steps=2,
        steps_per_generation=2,
        max_completion_length=16,
        learning_rate=1e-3,
        adam_epsilon=1e-4,  # Adam divides by a gradient's size, and makes of rounding errors in a small one a step
        critic="separate",
        kl_coef=0.1,
        kl_target=0.5,
        kl_estimator="k3",
        normalize_reward=True,
        reward_clip=1.5,
        entropy_coef=0.01,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    tokenizer = load_tokenizer(model)
    models = load_models(ModelConfig(model=str(model)), args, tokenizer, [])
    trainer = PPOTrainer(
        models.policy,
        args,
        rewards=[vowels],
        train_dataset=datasets.Dataset.from_list([{"prompt": prompt} for prompt in PROMPTS]),
        processing_class=tokenizer,
        reference=models.reference,
        critic=models.critic,
        rollout_func=rollout,
    )
    trainer.train()
    with quiet():
        trainer.save_model()
    trainer.save_state()
    if is_main():
        save_critic(output, split_critic(trainer.accelerator.unwrap_model(trainer.model).state_dict())[1])


if __name__ == "__main__":
    from rlaif.training import leave_process_group, quiet_libraries

    quiet_libraries()
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    train(*sys.argv[1:])
    leave_process_group()
