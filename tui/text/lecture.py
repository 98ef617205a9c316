"""The models of the lecture, each explained: what is new, which code does it, what to look at."""

from __future__ import annotations

from dataclasses import dataclass

from engine.config.presets import LADDER, PRESETS, Preset


@dataclass(frozen=True)
class Look:
    """What to look at in a trained model."""

    view: str  # of the inside screen
    what: str


@dataclass(frozen=True)
class Lesson:
    """One model, explained.

    Attributes:
        name: Of its preset.
        title: What is new, in a few words.
        words: Paragraphs.
        code: Functions of the model that do it, as ``engine.model.block:Block.forward``.
        looks: What to look at once it is trained.
    """

    name: str
    title: str
    words: tuple[str, ...]
    code: tuple[str, ...]
    looks: tuple[Look, ...]

    @property
    def preset(self) -> Preset:
        return PRESETS[self.name]


LESSONS = (
    Lesson(
        "bigram",
        "a table of what follows what",
        (
            "The smallest language model is a table with one row for each character. The row of "
            "the character just read holds a number, a logit, for each character that may come "
            "next. Softmax turns a row into probabilities, and training raises the logit of what "
            "really came next.",
            "The loss is the mean of -ln p, p being the probability that the model gave to the "
            "right character. Guessing evenly among 65 characters costs ln 65 = 4.17; whatever is "
            "below that has been learned from the text.",
            "It sees one character and nothing before it. After q it knows that u is likely, but "
            "not whether the q began 'queen' or 'quiet'. However long it trains, it cannot get "
            "below what pairs of characters tell.",
        ),
        ("engine.model.bigram:Bigram.__init__", "engine.model.bigram:Bigram.forward"),
        (
            Look("prediction", "move through a text: the bars depend on one character alone"),
            Look(
                "surprise", "the first letter of a word costs more than the rest: see after spaces"
            ),
        ),
    ),
    Lesson(
        "self-attention",
        "each position reads the ones before",
        (
            "Each position makes three vectors from its embedding: a query (what it looks for), a "
            "key (what it offers) and a value (what it passes on). The product of a query and a "
            "key is the score of an earlier position. Softmax turns the scores into attention "
            "weights that sum to 1, and the output is the sum of the values, each times its "
            "weight.",
            "The future is what has to be predicted, so it must not be seen: scores of later "
            "positions are set to minus infinity, and their weights are exactly 0. With this "
            "causal mask one pass predicts the next character at every position.",
            "Scores are divided by the square root of the head's size. Their variance would grow "
            "with it, softmax would put all weight on one position, and hardly any gradient would "
            "be left.",
            "Attention by itself knows no order: it sums over a set. So each position has a "
            "learned vector, too, which is added to that of the character.",
        ),
        (
            "engine.model.attention:CausalSelfAttention.reference",
            "engine.model.attention:reference_weights",
            "engine.model.gpt:GPT.embed",
        ),
        (
            Look("attention", "one map: a row for each query, nothing above the diagonal"),
            Look("embeddings", "vowels come nearer to each other than to consonants"),
        ),
    ),
    Lesson(
        "multi-head",
        "several heads side by side",
        (
            "A head has one set of weights for each position, so it can look for one thing at a "
            "time. Four heads, each a quarter as wide, can look for four things: the character "
            "before, the last space, the last vowel, the start of the line. Their outputs are put "
            "side by side again.",
            "This costs nothing: four heads of 8 have as many parameters as one of 32. In the "
            "code the heads are one more dimension of the same tensors, nh, and one matrix makes "
            "the queries, keys and values of all of them.",
        ),
        (
            "engine.model.attention:CausalSelfAttention.heads",
            "engine.model.attention:CausalSelfAttention.merge",
        ),
        (
            Look("attention", "four maps: do the heads look at different things?"),
            Look("layers", "switch a head off: which one is missed most?"),
        ),
    ),
    Lesson(
        "feed-forward",
        "computing at each position",
        (
            "Attention collects: its output is a weighted mean of values. Nothing has been "
            "computed with them yet. The feed-forward layer does that, at each position by "
            "itself: a matrix, then ReLU, which sets negative numbers to 0.",
            "Without ReLU the matrix and the one after it could be multiplied into one: two linear "
            "maps in a row are a linear map. With it a unit is on for some inputs and off for all "
            "others, so the layer can tell cases apart.",
            "Attention moves information between positions, the feed-forward layer works on it "
            "where it is. Every transformer is these two in turn.",
        ),
        ("engine.model.block:FeedForward.forward", "engine.model.block:activate"),
        (
            Look("health", "the share of dead units: those that are 0 for every input"),
            Look("layers", "switch the feed-forward layer off and watch the loss"),
        ),
    ),
    Lesson(
        "residual",
        "three blocks that add instead of replace",
        (
            "Attention and a feed-forward layer make a block, and here are three of them, one on "
            "top of the other. Deep stacks are hard to train: the gradient has to pass back "
            "through every layer, and each may weaken it.",
            "The remedy is an addition. A layer does not replace its input x, it adds to it: "
            "x + f(x). The sum that runs from the embedding to the head is the residual stream; "
            "all layers read from it and write into it. In the backward pass an addition hands "
            "the gradient on unchanged, to the first block as to the last.",
            "Two more changes: a projection after attention, which decides where in the stream "
            "its result is written, and a feed-forward layer four times as wide in the middle. "
            "Most parameters are there from now on.",
        ),
        (
            "engine.model.gpt:GPT.stream",
            "engine.model.block:Block.forward",
            "engine.model.block:Block._residual_add",
        ),
        (
            Look("layers", "the logit lens: what each block would predict already"),
            Look("layers", "how much each layer writes into the stream"),
        ),
    ),
    Lesson(
        "layer-norm",
        "activations of one scale",
        (
            "After some additions the numbers of the stream are larger, and differently so at "
            "each position. A layer norm takes the numbers of one position, subtracts their mean, "
            "divides by their standard deviation, then multiplies by a learned gain and adds a "
            "learned offset. What follows gets inputs of one size, whatever came before.",
            "It stands before attention, before the feed-forward layer, and once before the head. "
            "The stream itself is left alone (pre-norm), so that gradients still pass unchanged. "
            "Attention is all you need (Vaswani et al. 2017) normalises the stream after each "
            "addition (post-norm), which needs a warm-up of the learning rate (Xiong et al. 2020).",
            "With three blocks it gains a little: in the video, from 2.08 to 2.06.",
        ),
        (
            "engine.model.layers:LayerNorm.forward",
            "engine.model.block:Block.forward",
            "engine.model.gpt:GPT.logits",
        ),
        (
            Look("layers", "the norm of the stream grows, what the layers read does not"),
            Look("health", "the scale of the activations, layer by layer"),
        ),
    ),
    Lesson(
        "lecture",
        "the same, larger: a GPT",
        (
            "The same parts, but more of each: 6 blocks, 6 heads, width 384, and a context of 256 "
            "characters instead of 8. It sees the name of the speaker and some lines, not the "
            "middle of a word.",
            "It has ten parameters for each character of the text, enough to memorise it. Dropout "
            "works against that: during training a fifth of the activations is set to 0 at random "
            "and the rest is scaled up, so that no part can rely on another one. When the model is "
            "evaluated or generates text, nothing is dropped.",
            "The learning rate is lowered to 3e-4, as in the video for the larger model. This one "
            "is for a GPU.",
        ),
        (
            "engine.model.gpt:GPT.__init__",
            "engine.model.gpt:GPT.forward",
            "engine.model.layers:Dropout.forward",
        ),
        (
            Look("attention", "labelled heads: previous token, induction, spread"),
            Look("surprise", "which kinds of characters it still finds hard"),
        ),
    ),
    Lesson(
        "lets-build-gpt",
        "the GPT's size, a context of 8",
        (
            "The first of four projects that rebuild the lecture, and that this program grew "
            "from. It has the width, depth and dropout of the lecture's GPT, but sees 8 "
            "characters at once, as the small models do.",
            "So it answers a question that the lecture leaves open: is it the size or the "
            "context? Train it, then set its loss against layer-norm, which has the same context, "
            "and against lecture, which has the same size.",
        ),
        ("engine.model.gpt:GPT.forward", "engine.model.gpt:GPT._positions"),
        (Look("surprise", "by position in the context: the first ones have little to go by"),),
    ),
    Lesson(
        "gpt-from-scratch",
        "counted in epochs",
        (
            "The second project: 4 blocks, 8 heads, width 128, a context of 64, trained for a "
            "thousand passes over the text (epochs) with a small learning rate. It can be "
            "stopped at any time, and is saved every 100 steps.",
            "It also tries two choices of Attention is all you need: positions as sines "
            "(model.position=sinusoidal), which need no training, and the norm after the addition "
            "(model.norm_place=post). Both are settings here.",
        ),
        ("engine.model.positions:sinusoidal", "engine.model.block:Block.forward"),
        (Look("embeddings", "the cosine map of positions: neighbours are alike"),),
    ),
    Lesson(
        "jax-notebooks",
        "the same numbers in another framework",
        (
            "The third project writes a bigram model and one block of scaled self-attention in "
            "JAX, in notebooks. They are the models bigram and self-attention of the lecture: what "
            "is computed does not depend on the framework.",
            "It writes attention out as plain matrix products. So does the reference here, which "
            "a test holds against the fast code that trains.",
        ),
        (
            "engine.model.attention:reference_weights",
            "engine.model.attention:CausalSelfAttention.attend",
        ),
        (Look("attention", "the steps of the head: q and k, scores, softmax, weighted values"),),
    ),
    Lesson(
        "transformer-layer",
        "one complete layer of the paper",
        (
            "The fourth project takes a single layer, as in Attention is all you need (Vaswani et "
            "al. 2017), and passes a text through it: width 512, 8 heads of 64, a feed-forward "
            "layer of 2048, sines as positions, the norm after each addition.",
            "The page 'one pass' walks through it with a real forward pass: every tensor of the "
            "layer, its shape and its numbers. The same page is there for every other model.",
        ),
        (
            "engine.model.block:Block.forward",
            "engine.model.block:Block._add_mlp",
            "engine.model.attention:CausalSelfAttention.reference",
            "engine.model.block:FeedForward.forward",
            "engine.model.positions:sinusoidal",
        ),
        (Look("attention", "eight heads of 64: which of them differ once it is trained?"),),
    ),
)
RUNGS = tuple(one for one in LESSONS if one.preset in LADDER)
BY_NAME = {one.name: one for one in LESSONS}
GROUPS = {
    "Let's build GPT": RUNGS,
    "four projects that rebuild it": LESSONS[len(RUNGS) :],
}

# of each intermediate tensor of a forward pass, by its name in engine.inspect.trace
STAGES = {
    "token ids": "one number for each character",
    "token embeddings": "for each id its row of a learned table",
    "tokens before": "the embeddings of the characters before, added up",
    "positions": "for each position a vector of its own",
    "stream": "the stream that all layers read and write",
    "q": "queries: what each position looks for",
    "k": "keys: what each position offers",
    "v": "values: what each position passes on",
    "attention weights": "softmax of the scores: each row sums to 1",
    "heads joined": "the weighted values, heads side by side",
    "attention out": "after the projection, ready to be added",
    "hidden": "the wide middle of the feed-forward layer",
    "feed-forward out": "back to the width, ready to be added",
    "norm_1": "one size for the numbers of each position",
    "norm_2": "one size again",
    "norm": "the last norm, before the head",
    "logits": "a score for each character that may come next",
    "relu": "negative numbers set to 0",
    "gelu": "negative numbers damped",
    "relu2": "negative numbers set to 0, the others squared",
    "swiglu": "one half of the numbers gates the other",
}
