"""What a careful person would write without us: PyTorch and PEFT in one process, no framework.

It takes the same optimizer steps on the same batches as the federation does, client by client,
and averages after each round. It is the yardstick for the time that federate takes.
"""

import json
import sys
from pathlib import Path

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from blossomtune.federation.job import FederatedRun
from blossomtune.training import schedule


def main(job: FederatedRun) -> None:
    """Runs the rounds of ``job`` and prints the loss of the last step of each."""
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=torch.float32)
    pad = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(job.model), return_tensors="pt")
    lora = job.lora
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.target_modules),
        task_type="CAUSAL_LM",
    )
    model = get_peft_model(model, config).train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    start = {k: v.clone() for k, v in get_peft_model_state_dict(model).items()}
    rounds, batch = job.federation.rounds, schedule.effective_batch_size(job.training)
    data = [
        Dataset.from_file(str(job.preprocessed / f"client_{i}.arrow")).remove_columns("row")
        for i in range(len(job.clients))
    ]
    for number in range(1, rounds + 1):
        rate = schedule.compute_learning_rate(job.training, number, rounds)
        results = []
        for client, rows in enumerate(data):
            count = schedule.count_local_steps(job.training, len(rows)) * batch
            order = schedule.select_examples(
                job.seed, client, len(rows), (number - 1) * count, count
            )
            set_peft_model_state_dict(model, start)
            optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0)
            for at in range(0, count, batch):
                loss = model(**pad([rows[i] for i in order[at : at + batch]])).loss
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 1.0)
                optimizer.step()
                optimizer.zero_grad()
            results.append({k: v.clone() for k, v in get_peft_model_state_dict(model).items()})
            print(f"round {number}, client {client}: {loss.item():.4f}", flush=True)
        start = {k: sum(r[k] for r in results) / len(results) for k in start}


if __name__ == "__main__":
    main(FederatedRun.model_validate(json.loads(Path(sys.argv[1]).read_text())))
