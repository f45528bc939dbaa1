#!/usr/bin/env bash
# Guess, written down before: generate() given a GenerationConfig follows that one and no other; so GRPOTrainer, which
# gives it one of its own, samples from the policy, whatever stands in the model's generation_config.json.
# Seen (trl 1.16.0, transformers 5.24.0, torch 2.13.0): what the given config leaves unset is filled from the model's,
# without a word. A token that the model's config suppresses has a probability of 0.16 in the policy and occurs in no
# rollout; min_new_tokens there lets no answer end in time; no_repeat_ngram_size bends every answer. The training takes
# all of it for samples of the policy: nothing is clipped, logged or warned of. (repetition_penalty, which GRPO sets
# itself, is obeyed by a plain generate() alone.)
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check trl==1.16.0 transformers==5.24.0 torch==2.13.0
HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 "$folder/venv/bin/python" - "$folder" 2>"$folder/said" <<'PYTHON' || { tail -5 "$folder/said"; exit 1; }
import sys

import torch
import transformers
import trl
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, PrinterCallback
from trl import GRPOConfig, GRPOTrainer

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "yes", "no", "what"]
END, YES = 2, 4
raw = Tokenizer(models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="<unk>"))
raw.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, pad_token="<pad>", bos_token="<s>", eos_token="</s>")


def policy(**own):
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=7, pad_token_id=0, bos_token_id=1, eos_token_id=END, **shape))
    for name, value in own.items():
        setattr(model.generation_config, name, value)
    return model


def probability(model):
    """Of `yes` as the first word after `what`."""
    with torch.no_grad():
        return float(model(torch.tensor([[6]])).logits[0, -1].softmax(-1)[YES])


def rollouts(**own):
    """The share of `yes` among the tokens, of answers that ended, and of bigrams of one token twice."""
    answers = []

    def reward(completion_ids, **columns):
        answers.extend(completion_ids)
        return [float(len(ids)) for ids in completion_ids]

    args = GRPOConfig(
        sys.argv[1],
        use_cpu=True,
        bf16=False,
        report_to=[],
        max_steps=1,
        per_device_train_batch_size=128,
        num_generations=8,
        max_completion_length=6,
        disable_tqdm=True,
    )
    prompts = Dataset.from_list([{"prompt": "what"}] * 128)
    trainer = GRPOTrainer(policy(**own), reward, args=args, train_dataset=prompts, processing_class=tokenizer)
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    tokens = [token for ids in answers for token in ids]
    clipped = trainer.state.log_history[0]["clip_ratio/region_mean"]
    twice = sum(a == b for ids in answers for a, b in zip(ids, ids[1:]))
    return tokens.count(YES) / len(tokens), sum(ids[-1] == END for ids in answers) / len(answers), twice, clipped


def greedy(**own):
    model = policy(**own).eval()
    config = GenerationConfig(max_new_tokens=6, do_sample=False, pad_token_id=0, eos_token_id=END)
    return model.generate(torch.tensor([[6]]), attention_mask=torch.ones(1, 1), generation_config=config)[0].tolist()


print(f"trl {trl.__version__}, transformers {transformers.__version__}, torch {torch.__version__}")
cases = ({}, {"suppress_tokens": [YES]}, {"min_new_tokens": 6}, {"no_repeat_ngram_size": 1})
print(f"the policy's probability of yes: {probability(policy()):.3f}")
seen = []
for own in cases:
    seen.append(rollouts(**own))
    yes, ended, twice, clipped = seen[-1]
    print(f"{own!s:<30} yes {yes:.3f}, ended {ended:.2f}, a token twice in a row {twice}, clipped {clipped}")
plain, penalized = greedy(), greedy(repetition_penalty=5.0)
print("greedy with a config of one's own:", plain, "and beside repetition_penalty 5 in the model's:", penalized)
free, suppressed, long, unrepeated = seen
right = free[0] > 0.1 and free[1] > 0.4 and free[2] > 20 and plain != penalized and not any(case[3] for case in seen)
sys.exit(not (right and suppressed[0] == 0 and long[1] < 0.3 and unrepeated[2] == 0))
PYTHON
