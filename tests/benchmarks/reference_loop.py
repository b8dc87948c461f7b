"""Federated averaging with PyTorch and PEFT in one process, as the reference for ``federate``.

The clients take the same optimizer steps on the same batches as in the federation, one after the
other.
"""

import sys

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from blossomtune.federation.run import FederatedRun
from blossomtune.training import schedule


def main(run: FederatedRun) -> None:
    """Train all rounds; print the last loss of each client."""
    spec, paths = run.spec, run.paths
    model = AutoModelForCausalLM.from_pretrained(paths.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(paths.model)
    collate = DataCollatorForSeq2Seq(tokenizer, return_tensors="pt")
    lora = spec.lora
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    state = {k: v.clone() for k, v in get_peft_model_state_dict(model).items()}
    rounds, batch_size = spec.federation.rounds, schedule.effective_batch_size(spec.training)
    data = [
        Dataset.from_file(str(paths.preprocessed / f"client_{i}.arrow")).remove_columns("row")
        for i in range(len(spec.clients))
    ]
    for number in range(1, rounds + 1):
        rate = schedule.compute_learning_rate(spec.training, number, rounds)
        results = []
        for client, rows in enumerate(data):
            count = schedule.count_local_steps(spec.training, len(rows)) * batch_size
            indices = schedule.select_examples(
                spec.seed, client, len(rows), (number - 1) * count, count
            )
            set_peft_model_state_dict(model, state)
            optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
            for first in range(0, count, batch_size):
                loss = model(**collate([rows[i] for i in indices[first : first + batch_size]])).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            results.append({k: v.clone() for k, v in get_peft_model_state_dict(model).items()})
            print(f"round {number}, client {client}: {loss.item():.4f}", flush=True)
        state = {k: sum(r[k] for r in results) / len(results) for k in state}


if __name__ == "__main__":
    main(FederatedRun.load(sys.argv[1]))
