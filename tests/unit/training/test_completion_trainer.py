from functools import partial

from adapter_training import build_config

from blossomtune.modeling.loss import collate
from blossomtune.training.completion_trainer import CompletionTrainer


def test_rows_are_trained_on_in_the_given_order(training_setup, tmp_path):
    model, tokenizer, rows = training_setup
    last_tokens = []

    class RecordingTrainer(CompletionTrainer):
        def compute_loss(self, model, inputs, *args, **kwargs):
            last_tokens.extend(inputs["input_ids"][:, -1].tolist())
            return super().compute_loss(model, inputs, *args, **kwargs)

    numbered = rows.map(
        lambda row, i: {"input_ids": [*row["input_ids"][:-1], 10 + i]}, with_indices=True
    )
    trainer = RecordingTrainer(
        model=model,
        args=build_config(tmp_path),
        train_dataset=numbered,
        processing_class=tokenizer,
        data_collator=partial(collate, pad_token_id=0),
    )
    trainer.train()
    assert last_tokens == list(range(10, 18))
