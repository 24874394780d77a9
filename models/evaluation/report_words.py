"""What the report says around its figures, and how it looks."""

from __future__ import annotations

from models.evaluation.judge import Judgement

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:86rem;padding:0 1rem;color:#1a1c20;background:#fff}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.15rem;margin-top:2.2rem}h3{font-size:1rem;margin-bottom:.2rem}
p{max-width:62rem}table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.3rem .4rem;text-align:right;border-bottom:1px solid #dcdfe4;vertical-align:top}
th:first-child,td:first-child{text-align:left}th{font-weight:600;border-bottom:2px solid #8a9099}
small{color:#5b626d;font-size:11px;white-space:nowrap;display:block}.pass{color:#12692f;font-weight:600}
.fail{color:#a31d1d;font-weight:600}.text{display:block;text-align:left;min-width:16rem}
.verdict{background:#eef3fa;border-left:5px solid #2563b0;padding:.6rem 1rem}
.warning{background:#fbf1ea;border-left:5px solid #b04a25;padding:.6rem 1rem}
.plots{display:flex;flex-wrap:wrap;gap:1.5rem}.plots figure{margin:0}figcaption{font-weight:600;max-width:240px}
.scroll{overflow-x:auto}
"""
TITLES = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced",
    "precision": "precision",
    "recall": "recall",
    "f1": "F1",
    "mcc": "MCC",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "brier": "Brier",
    "ece": "ECE",
}
BY = {"both": "EEG + BOLD", "eeg": "EEG", "bold": "BOLD"}
CONTRIBUTION = (
    "Balanced accuracy, over windows that hold both. Shapley: mean gain from adding the modality, in either order. "
    "Drop: loss when its data comes from other windows of the subject."
)
ONE_MODALITY = {
    "eeg": "The data holds EEG alone: there is nothing to compare it with.",
    "bold": "The data holds BOLD alone: there is nothing to compare it with.",
}
DOUBT = (
    "Candidates are the classes that the model cannot rule out. Coverage is how often the true class was among them; "
    "by blocks, every block counts once, however many windows it holds. The model abstains where it has not exactly "
    "one candidate, or where its members disagree too much. Windows reduced to one modality say what is left when the "
    "other fails."
)
CURVES = (
    "Balanced accuracy on what was held out, against what there was to learn from in the training part of each fold. "
    "The smaller training sets lie within the larger ones. A curve that still rises says that more data would help."
)
EPOCHS = "Of the card's network, as its training wrote it down."
RELIABILITY = {
    "target": (
        "How often the state was there against how probable the model said it was, in bins of equal mass; an honest "
        "model keeps to the diagonal."
    ),
    "macro": (
        "How often the most probable state was the true one against how probable the model said it was, in bins of "
        "equal mass; an honest model keeps to the diagonal."
    ),
}
NESTED = (
    "All that is fitted is fitted within the training part of a fold: scaling, directions, the rivals' settings and "
    "the calibration of their probabilities, the latter two on windows held out once more within it (nested)."
)
WITHIN_RUN = (
    "Features were standardised within each run, over all its windows, the later ones among them. No label was used, "
    "but a live loop cannot have this: these figures compare with offline decoders and say nothing of a session."
)


def of_scores(judgement: Judgement) -> str:
    """Say what the scores are."""
    reach = "" if judgement.unit == "subject" else " They speak for these subjects, not for new ones."
    averaging = ""
    if judgement.averaging == "macro":
        averaging = (
            " Precision, recall, F1 and the areas are means over the classes, each against all others (macro); the "
            "Brier score is summed over the classes; ECE is of the most probable class."
        )
    return (
        f"Below each score its 95 % interval, from drawing {judgement.n_units} {judgement.unit}s anew.{reach} Chance "
        f"is {judgement.chance:.3f} per window, the share of the commonest class; guessing reaches "
        f"{judgement.block_threshold:.3f} of the blocks with a probability below 0.05.{averaging} p: labels of blocks "
        "permuted within runs. Brier and ECE are better when smaller; ECE grows when drawn anew, so that its interval "
        "may lie above it."
    )
