"""The field's preference formats: rows to judgments and back, one z in between.

    base        what every format is made of, and the count of what does not get through
    carrying    what a source said beside its pairs, in the rows that are written
    chosen      chosen and rejected: TRL, UltraFeedback, Argilla and distilabel, ours
    chats       the same as conversations: Anthropic HH, Skywork, Intel orca, ShareGPT
    sided       two numbered responses and a verdict: AlpacaEval, our pairs
    helpsteer   HelpSteer 2 and 3
    people      PKU-SafeRLHF, SHP, PandaLM, Auto-J
    arena       two conversations and a winner: the arenas, MT-bench
    benchmarks  RewardBench 1 and 2, RM-Bench, JudgeBench, LLMBar, HHH alignment
    ranked      several ranked responses, or one with a mark: Nectar, NeMo-RL, KTO
    rated       several rated responses: UltraFeedback's ratings, distilabel
    known       which is which, and the prompts of a benchmark; `rlaif convert` is the command

`--source_format` and `--format` name them; those marked * are only read. The format is found by the columns, one for
each published schema; where several fit, or none, the error says which.

    format                 datasets                                   z
    pairs                  ours                                       z, else the label
    preferences            what `rlaif build` writes                  z
    trl                    any prompt, chosen, rejected; a `system`   1, or by its scores
                           column, instruction/input, question
    ultrafeedback          HuggingFaceH4 and trl-lib                  score_chosen against score_rejected
                           ultrafeedback_binarized
    argilla                argilla/*, distilabel, tulu mixtures       the ratings of both; status "tie"
    distilabel             instruction, generations, ratings          ratings, every two
    ultrafeedback-ratings* openbmb/UltraFeedback                      overall_score, every two; --verdict
                                                                      fine-grained_score, helpfulness, honesty, ...
    helpsteer2             nvidia/HelpSteer2, folder preference       preference_strength -3 to 3
    helpsteer2-ratings     nvidia/HelpSteer2, nvidia/HelpSteer        helpfulness, every two rows in turn
    helpsteer3             nvidia/HelpSteer3, config preference       overall_preference -3 to 3
    skywork                Skywork/Skywork-Reward-Preference-80K      1
    hh                     Anthropic/hh-rlhf                          1, people's
    nectar                 berkeley-nest/Nectar                       rank, every two
    nemo                   NeMo-RL's ranked completions               rank, every two
    kto                    TRL's unpaired rows                        label true against false, of one prompt
    orca                   Intel/orca_dpo_pairs                       1
    sharegpt               conversations, chosen, rejected            1, or by its scores
    pku-safe-rlhf*         PKU-Alignment/PKU-SafeRLHF                 better_response_id; --verdict
                                                                      safer_response_id
    shp*                   stanfordnlp/SHP, SHP-2                     labels
    arena-55k              lmarena-ai/arena-human-preference-55k      winner_model_a, winner_model_b, winner_tie;
                                                                      or winner
    arena                  lmsys/chatbot_arena_conversations,         winner; both kinds of tie are 0.5
                           lmarena-ai/arena-human-preference-100k
                           and -140k
    mt-bench               lmsys/mt_bench_human_judgments             winner of the turn that was judged
    pandalm*               WeOpenML/PandaLM, testset-v1.json          the majority of three annotators
    auto-j                 GAIR-NLP/auto-j, testdata_pairwise.jsonl   label 0, 1, 2
    alpacaeval             annotations.json                           2 - preference
    judgebench             ScalerLab/JudgeBench                       label
    llmbar                 princeton-nlp/LLMBar                       label
    hhh                    HuggingFaceH4/hhh_alignment                targets.labels
    rewardbench            allenai/reward-bench                       1
    rewardbench2*          allenai/reward-bench-2                     each chosen over each rejected; chosen ones of
                                                                      the subset Ties are ties
    rm-bench*              THU-KEG/RM-Bench                           three chosen over three rejected: nine pairs

Everything comes in as a `Judgment`. A verdict that people or the makers of a benchmark gave is also the pair's `label`;
a model's verdict is z and no label, with the judge named where the format names one. A hard verdict is z = 1, 0 or 0.5:
no degree is turned into a probability. Where a format has chosen and rejected, chosen comes in as `response_a`; equal
scores of the two are a tie, and a chosen one with the lower score is unjudged. Scores are columns whose names differ by
chosen and rejected alone and say score, rating or reward (`rlaif.files.scores`); `is_tie`, a status, label or winner
"tie" and a `preference_strength` of 0 are a tie as well, and a label "rejected" makes it unjudged.

A judge is named only where the rows say who it was, or where the columns are those of one published data set. A model's
verdict that is written in a format of people's (hh, rewardbench, judgebench, ...) comes back as people's: the report of
an export says so.

Prompts are read as everywhere (`rlaif.files.conversations`): a `system` column is a turn, tools and images are refused
by name, as is an `instruction`, `question`, `input` or `context` that the prompt does not hold. What else a row says
goes to `extra`:

- `strength` is how much better people found the better response, from 0 (HelpSteer's -3..3 without its sign). The
  label says which one, so that `swap()` leaves the strength right.
- what is said of each response is `<column>_1` and `<column>_2`, of the source's first and second; `score_chosen` and
  the like keep their names. Which one is which after a `swap()` is known from the pair's id, a hash of the prompt and
  both responses in the source's order. Where a later verdict turns chosen and rejected, they are turned in what is
  written (`rlaif.formats.carrying`), and scores that contradict the verdict are null.
- a column that is called like one of ours (`id`, `judge`, `label`, ...) becomes `source_id` and so on. What an earlier
  judge said stays `source_z`, `source_judge`, ... in every format, so that it does not pass for the new verdict.
- `source_split` is the split, where all splits of a source are read: of what `rlaif build` wrote, or `--split all`. Of
  any other source with several splits one has to be chosen: they may hold the same rows, or a test's.

What makes no pair is counted by its reason: a null response (of others' data; in ours it is an error), two
conversations that differ before the last response, a completion without a counterpart. A row that is wrong (a verdict
that the format does not have, a rating that is a word or NaN, a winner that is not one of the words, lists of unequal
length) ends the run with its file and line, or is left out and listed with `--on_bad_row skip`. Rows with one response
alone are demonstrations, for recipes/sft.py.
"""
