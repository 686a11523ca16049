"""What captioners and rewriters are asked, by name. The words are ours; the tasks are those of the papers named.

Names in braces stand for texts of the row: a Rewrite says of which columns.
"""

import hashlib
import string

from curate.errors import RecipeError

PROMPTS = {
    # captions
    "none": "",  # for captioners that take no prompt (CoCa, BLIP)
    "short": "Describe this image in one short sentence.",
    "detailed": (
        "Describe this image in detail: what is in it, how it looks, and how the parts lie to each other. Say only what "
        "can be seen."
    ),
    # VeCLIP, 2310.07699
    "concepts": ("Name everything that can be seen in this image, and say in one sentence how it goes together."),
    # documents and clips, whose texts and pictures are shown before the prompt
    "document": (
        "These were the texts and images of a web page, in order. Say in three sentences what the page is about, and what its "
        "images show of it."
    ),
    "clip": (
        "These were frames of a video in order of time, with what is said between them. Describe in two sentences what happens, "
        "and say nothing that cannot be seen or heard."
    ),
    "compare": "Say in one sentence what is the same in these images, and in another what differs.",
    # rewriting, text only
    # LaCLIP, 2305.20088
    "rewrite": (
        "Rewrite this image caption in other words. Keep every fact, add none, and answer with the caption "
        "alone.\n\nCaption: {text}"
    ),
    "translate": "Translate this image caption into English. Answer with the translation alone.\n\nCaption: {text}",
    # fusion, text only (CapsFusion, 2310.20550)
    "fuse": (
        "Two captions belong to one image. The first was found with it: it may know names and facts, and may be noisy. "
        "The second "
        "was written by a model that looked at the image: it is plain. Write one fluent caption that has the names and "
        "facts of the "
        "first where they fit the second, and the structure of the second. Answer with the caption alone.\n\n"
        "Found: {text}\nWritten: {synthetic}"
    ),
    # text-rich pictures, text only (LLaVAR, 2306.17107): the facts are a caption and what a reader of text found
    "text_rich": (
        "Here is what is known about an image that you cannot see: a description, and the words that can be read in it, as a "
        "program read them, which makes mistakes.\n\n{facts}\n\nWrite a conversation between a person who asks about the words in "
        "the image and what they tell, and an assistant who sees the image. Ask only what these facts answer with certainty. "
        "Three questions. Write each turn on a line of its own, beginning with `Question:` or `Answer:`, and do not mention "
        "the facts as such."
    ),
    # two answers compared, with the picture (LLaVA-RLHF, 2309.14525; a model as judge: 2306.05685)
    "prefer": (
        "Here are two answers to a question about this image.\n\nThe question: {question}\n\nAnswer 1: {first}\n\nAnswer 2: "
        "{second}\n\nWhich is better: true to the image, to the point, with nothing in it that cannot be seen? Answer with "
        "1 or 2 alone."
    ),
    # a question about a picture, for two answers
    "question": "Describe this image for somebody who cannot see it: what is in it, and where.",
    # instructions, text only (LLaVA, 2304.08485): a text-only model writes them from captions and boxes
    "conversation": (
        "Here is what is known about an image that you cannot see.\n\n{facts}\n\nWrite a conversation between a person who "
        "asks about the image and an assistant who sees it. Ask only what these facts answer with certainty: kinds, numbers, "
        "places and relations of things. Three questions. Write each turn on a line of its own, beginning with `Question:` or "
        "`Answer:`, and do not mention the facts as such."
    ),
    "detail": (
        "Here is what is known about an image that you cannot see.\n\n{facts}\n\nWrite one line beginning with "
        "`Question:` that asks "
        "for a detailed description of the image, and one beginning with `Answer:` that gives it, as somebody who sees "
        "it would."
    ),
    "reasoning": (
        "Here is what is known about an image that you cannot see.\n\n{facts}\n\nWrite one line beginning with "
        "`Question:` that can "
        "only be answered by thinking about what is in the image (why, what for, what next), and one beginning with "
        "`Answer:` that "
        "answers it step by step, from these facts."
    ),
}


def prompt_text(prompt: str) -> str:
    """The prompt of a name, or the text itself if it has a blank. RecipeError for a name that is not known."""
    if prompt in PROMPTS:
        return PROMPTS[prompt]
    if " " not in prompt:
        raise RecipeError(f"prompt {prompt}: there are {', '.join(PROMPTS)}; or write a text")
    return prompt


def prompt_hash(text: str) -> str:
    """12 hex digits of the SHA-256 of a prompt as it stands, with its names in braces."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def names(text: str) -> list[str]:
    """The names in braces, in order."""
    return list(dict.fromkeys(n for _, n, _, _ in string.Formatter().parse(text) if n))
