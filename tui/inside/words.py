"""What each view of the inside of a model is called, what one sees in it, and the papers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """The words of a view.

    Attributes:
        title: Of its tab.
        explanation: What one sees, and why it matters.
        source: The papers.
    """

    title: str
    explanation: str
    source: str


WORDS = {
    "attention": Words(
        "Attention",
        "Each head looks back from every token (rows) at those before it (columns): the stronger "
        "the colour, the more of that token's value it takes. What the heads have learned to look "
        "for is how the model carries information along the text.",
        "Vaswani et al. 2017; induction heads: Olsson et al. 2022.",
    ),
    "prediction": Words(
        "Prediction",
        "The model's probability for each next token, and what temperature, top-k, top-p and min-p "
        "leave of it. Sampling draws the next token from the right-hand figures, and from nothing "
        "else.",
        "Top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2024.",
    ),
    "surprise": Words(
        "Surprise",
        "How many bits each token cost the model: −log2 of the probability it had given it. The "
        "loss is the mean of these; where they are high is what the model has yet to learn.",
        "Shannon 1948; Hale 2001.",
    ),
    "layers": Words(
        "Layers",
        "What each layer would predict if the model ended there (the stronger the colour, the "
        "surer; ◆ is right), and how much worse the loss is without a part. Depth pays where "
        "predictions get better from row to row.",
        "Logit lens: nostalgebraist 2020; ablation: Michel et al. 2019.",
    ),
    "embeddings": Words(
        "Embeddings",
        "The vectors of the tokens, along the two directions in which they differ most. Tokens "
        "that are used alike come to lie together, such as vowels: no label says so.",
        "Bengio et al. 2003; Mikolov et al. 2013.",
    ),
    "health": Words(
        "Health",
        "What each layer and matrix did at the steps where it was measured, and what stands out "
        "now. A layer whose gradients vanish, whose units are dead or whose attention has "
        "collapsed no longer learns, long before the loss shows it.",
        "Glorot & Bengio 2010; Zhai et al. 2023.",
    ),
}
