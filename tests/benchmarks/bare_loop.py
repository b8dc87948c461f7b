"""What a careful person would write without us: PyTorch and PEFT in one process, no framework.

It takes the same optimizer steps on the same batches as the federation does, client by client,
and averages after each round. It is the yardstick for the time that federate takes.
"""

import sys

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq

from blossomtune.federation.run import FederatedRun
from blossomtune.training import schedule


def main(run: FederatedRun) -> None:
    """Runs the rounds of ``run`` and prints the loss of the last step of each."""
    spec, paths = run.spec, run.paths
    model = AutoModelForCausalLM.from_pretrained(paths.model, dtype=torch.float32)
    pad = DataCollatorForSeq2Seq(AutoTokenizer.from_pretrained(paths.model), return_tensors="pt")
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
    start = {k: v.clone() for k, v in get_peft_model_state_dict(model).items()}
    rounds, batch = spec.federation.rounds, schedule.effective_batch_size(spec.training)
    data = [
        Dataset.from_file(str(paths.preprocessed / f"client_{i}.arrow")).remove_columns("row")
        for i in range(len(spec.clients))
    ]
    for number in range(1, rounds + 1):
        rate = schedule.compute_learning_rate(spec.training, number, rounds)
        results = []
        for client, rows in enumerate(data):
            count = schedule.count_local_steps(spec.training, len(rows)) * batch
            order = schedule.select_examples(
                spec.seed, client, len(rows), (number - 1) * count, count
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
    main(FederatedRun.load(sys.argv[1]))
