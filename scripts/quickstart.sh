#!/usr/bin/env bash
# The whole path in the sandbox, offline, in minutes on two CPU cores: a judge annotates response pairs with z, a reward
# model is trained on z, DPO trains the policy on z and PPO on the reward model, and a report says what was gained.
#
#   bash scripts/quickstart.sh        results in runs/quickstart/, the page to read is runs/quickstart/report.html
#
# Each step is one command that you can run by itself. The comments give the same step at full size.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/environment.sh
prepare_environment ""

export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1 TOKENIZERS_PARALLELISM=false
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$(getconf _NPROCESSORS_ONLN)}" # else accelerate says that it chose for you
RUN=runs/quickstart
MODELS=rlaif/sandbox/models
LAUNCH="accelerate launch --config_file recipes/accelerate/cpu.yaml"
rm -rf "$RUN"

step() { printf '\n\033[1m%s\033[0m\n' "$*"; }

step "1/10  prompts and demonstrations of the small world"
rlaif sandbox --output $RUN
# full size: any source with a prompt column, a file or a Hub id

step "2/10  supervised fine-tuning on the demonstrations"
$LAUNCH recipes/sft.py --config recipes/configs/sft/sandbox.yaml
# full size: accelerate launch --config_file recipes/accelerate/single_gpu.yaml recipes/sft.py --config recipes/configs/sft/qwen3_0.6b_full.yaml

step "3/10  two responses to each prompt"
rlaif sample --prompts $RUN/prompts.jsonl --policy $RUN/sft --max_new_tokens 40 --output $RUN/sampled
# full size: accelerate launch -m rlaif sample ..., or --base_url http://host:8000/v1 with vLLM behind it

step "4/10  the judge's z, both orders"
rlaif judge --pairs $RUN/sampled/pairs.jsonl --judge_model $MODELS/judge --template compact --output $RUN/judged
# full size: --judge_model Qwen/Qwen3-8B --judge_load_in_4bit true, or --judge api --judge_model gpt-4.1-mini

step "5/10  preference dataset, split by prompt"
rlaif build --judgments $RUN/judged --output $RUN/preferences

step "6/10  Bradley-Terry reward model on z"
$LAUNCH reward_models/bradley_terry.py --config reward_models/configs/sandbox.yaml

step "7/10  DPO on z"
$LAUNCH recipes/dpo.py --config recipes/configs/dpo/sandbox.yaml

step "8/10  PPO on the reward model"
$LAUNCH recipes/ppo.py --config recipes/configs/ppo/sandbox.yaml
# its own page: runs/quickstart/ppo/report.md, the reward against what training does not see, check by check

step "9/10  what was gained"
rlaif evaluate --policies sft=$RUN/sft dpo=$RUN/dpo ppo=$RUN/ppo --prompts $RUN/evaluation.jsonl --max_new_tokens 40 \
    --gold rlaif.sandbox:gold_reward --judge_model $MODELS/judge --template compact --judgments $RUN/judged \
    --reward_model $RUN/reward_model --preferences $RUN/preferences --output $RUN \
    --stages sft=$RUN/sft sample=$RUN/sampled judge=$RUN/judged build=$RUN/preferences \
    reward_model=$RUN/reward_model dpo=$RUN/dpo ppo=$RUN/ppo
# full size: without --gold, the judge's win rates and the reward model's scores

step "10/10  ready for others: the dataset, checked, with its card (nothing is sent)"
rlaif publish --preferences $RUN/preferences --evaluation $RUN/report.json --license apache-2.0 --language en \
    --names $RUN/sft=errands-sft $MODELS/judge=errands-judge --output $RUN/published
# to the Hub, private: the same with --repo_id you/name, after `hf auth login`

printf '\nthe page to read: %s/report.html, or rlaif view %s (%d seconds in all)\n' "$RUN" "$RUN" "$SECONDS"
