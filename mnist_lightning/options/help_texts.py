"""Help texts of the Trainer's commands, where the framework's own describe more than these commands do."""

TRAINER_COMMANDS = {
    "fit": "Train a network.",
    "validate": "Evaluate a checkpoint on the validation images.",
    "test": "Evaluate a checkpoint on the test images.",
    "predict": "Write the class that a checkpoint sees in each test image.",
}
SEED = "Seed of all random draws, from 0 to 4294967295."
_OR_LAST = "or `last`: the newest `last.ckpt` in the runs of these configs, or of --run_name."
CHECKPOINT_TO_RESUME = f"Checkpoint of the run to resume, {_OR_LAST}"
CHECKPOINT_TO_READ = f"Checkpoint with the weights, {_OR_LAST} Required."
