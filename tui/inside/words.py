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
        reading: What to look for, in paragraphs that are shown where there is room.
    """

    title: str
    explanation: str
    source: str
    reading: tuple[str, ...] = ()


WORDS = {
    "attention": Words(
        "Attention",
        "Each head looks back from every token (rows) at those before it (columns): the stronger "
        "the colour, the more of that token's value it takes. What the heads have learned to look "
        "for is how the model carries information along the text.",
        "Vaswani et al. 2017; induction heads: Olsson et al. 2022.",
        (
            "A line just below the diagonal is a head that looks one token back; a column at the "
            "left edge is one that rests on the first token; an even wedge has found nothing to "
            "prefer.",
            "Names are given where one thing takes more than half of a head's weight. The list "
            "has the head that does each thing most, even where none does it alone.",
            "A previous-token head in one layer and an induction head in a later one continue "
            "together what came before: AB … A, and then B.",
            "Go back through the kept weights and see when a pattern began.",
        ),
    ),
    "prediction": Words(
        "Prediction",
        "The model's probability for each next token, and what temperature, top-k, top-p and min-p "
        "leave of it. Sampling draws the next token from the right-hand figures, and from nothing "
        "else.",
        "Top-p: Holtzman et al. 2020; min-p: Nguyen et al. 2024.",
        (
            "Where a word can only end in one way, entropy should be low; where a new word "
            "begins, nobody can know, and it should be high.",
            "A low temperature takes the likeliest token again and again; a high one draws "
            "unlikely ones. Top-k, top-p and min-p cut off the end of the list, where each token "
            "is unlikely but all of them together are not.",
            "Take a token other than the likeliest and see how the rest of the text follows from "
            "it.",
        ),
    ),
    "surprise": Words(
        "Surprise",
        "How many bits each token cost the model: −log2 of the probability it had given it. The "
        "loss is the mean of these; where they are high is what the model has yet to learn.",
        "Shannon 1948; Hale 2001.",
        (
            "The first letter of a word costs more than those after it: nobody can know which word "
            "comes. What stays dear though a reader would know it is what there is to learn.",
            "The course over the steps has the token itself and any token of its kind: nobody can "
            "know which capital begins a line, but that a capital does is learned early.",
            "A model that uses its context is less surprised further in: the columns by position "
            "fall.",
        ),
    ),
    "layers": Words(
        "Layers",
        "What each layer would predict if the model ended there (the stronger the colour, the "
        "surer; ◆ is right), and how much worse the loss is without a part. Depth pays where "
        "predictions get better from row to row.",
        "Logit lens: nostalgebraist 2020; ablation: Michel et al. 2019.",
        (
            "A row that is right where the row above was not shows what its layer has added.",
            "A part that is worth about nothing can be left out; switch it off and read how the "
            "text goes on without it.",
            "Parts of one layer do not add up to what the layer is worth: one can stand in for "
            "another.",
            "A layer that writes little, beside the norm of the stream it writes into, changes "
            "little.",
        ),
    ),
    "embeddings": Words(
        "Embeddings",
        "The vectors of the tokens, along the two directions in which they differ most. Tokens "
        "that are used alike come to lie together, such as vowels: no label says so.",
        "Bengio et al. 2003; Mikolov et al. 2013.",
        (
            "Two axes show a part of the variance, as the title says: tokens that are near on the "
            "map may be far apart in other directions. The list has the cosine in all of them.",
            "In the untrained model the points are a cloud without order. Go through the kept "
            "weights and see groups form.",
            "That neighbouring positions are alike is learned, too: untrained, they are not.",
        ),
    ),
    "health": Words(
        "Health",
        "What each layer and matrix did at the steps where it was measured, and what stands out "
        "now. A layer whose gradients vanish, whose units are dead or whose attention has "
        "collapsed no longer learns, long before the loss shows it.",
        "Glorot & Bengio 2010; Zhai et al. 2023.",
        (
            "Look at what stands out first, then whether it has always been so: one step is "
            "noise, a trend is not.",
            "A layer is compared with the other layers, a matrix with the other matrices.",
        ),
    ),
}

STEPS_READING = (
    "The query of one token is multiplied, number by number, with the key of another; the sum of "
    "the products is the score. The larger it is, the better the two fit.",
    "Scores of all tokens are divided by the root of the head's size, those of later tokens are "
    "masked, and softmax turns the rest into weights that sum to 1.",
    "The weights multiply the values: what the head hands on is their sum. The output projection "
    "says where in the residual stream it is added, and how much.",
    "Choose another token that is looked at: q stays, k and the score change.",
)
