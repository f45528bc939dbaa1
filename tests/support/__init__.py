"""What several tests use: tiny models and tokenizers, servers, programs in processes of their own, files of rows."""

from support.files import rows_of, some_pairs, write_rows
from support.models import RecordingReward, ppo_config, save_model, tiny_llama, word_llama
from support.programs import ROOT, SECRET, here, kill_with_children, refused, rlaif, rlaif_env, wait_until
from support.servers import Server, completion
from support.tokenizers import CHAT_TEMPLATE, WORDS, byte_tokenizer, word_tokenizer

__all__ = [
    "CHAT_TEMPLATE",
    "ROOT",
    "SECRET",
    "WORDS",
    "RecordingReward",
    "Server",
    "byte_tokenizer",
    "completion",
    "here",
    "kill_with_children",
    "ppo_config",
    "refused",
    "rlaif",
    "rlaif_env",
    "rows_of",
    "save_model",
    "some_pairs",
    "tiny_llama",
    "wait_until",
    "word_llama",
    "word_tokenizer",
    "write_rows",
]
