"""Text in, vectors out: sentence encoders for many languages, their training and their evaluation."""

from __future__ import annotations

from encoder.bilstm import BiLstmConfig
from encoder.bitext import Bitext
from encoder.checkpoint import pack, unpack
from encoder.evaluation import Accuracy, retrieval_accuracy, xsim
from encoder.inference import Encoder, SentenceEncoder
from encoder.registry import load_encoder
from encoder.static import StaticConfig
from encoder.training import Step, Training, TrainingConfig, train
from encoder.vocabulary import Vocabulary, VocabularyConfig, balanced_quota, train_vocabulary

__all__ = [
    "Accuracy",
    "BiLstmConfig",
    "Bitext",
    "Encoder",
    "SentenceEncoder",
    "StaticConfig",
    "Step",
    "Training",
    "TrainingConfig",
    "Vocabulary",
    "VocabularyConfig",
    "balanced_quota",
    "load_encoder",
    "pack",
    "retrieval_accuracy",
    "train",
    "train_vocabulary",
    "unpack",
    "xsim",
]
