"""Declarative shadow DOM: the tree in `<template shadowrootmode>` is shown in place of its host's children, which its slots take in."""

from collections.abc import Callable

from selectolax.lexbor import LexborNode

#: Shadow trees in each other; what is deeper is read as if it had none.
DEEPEST = 32


class Hosts:
    """The hosts that a walk is inside of, and for each the children that no slot has taken yet, by the name of their slot."""

    def __init__(self):
        self.open: list[dict[str, list[LexborNode]]] = []
        self.depth = 0

    def enter(self, node: LexborNode, tag: str, attributes: dict, walk: Callable[..., None]) -> bool:
        """True if the walk goes on into an element; False if it has been walked, as a host or a slot."""
        if tag == "slot" and self.open:
            return self.slot(attributes.get("name") or "", walk)
        tree = shadow_tree(node) if self.depth < DEEPEST else None
        if tree is None:
            return True
        self.open.append(by_slot(node))
        self.depth += 1
        walk(tree.first_child)
        self.depth -= 1
        self.open.pop()
        return False

    def slot(self, name: str, walk: Callable[..., None]) -> bool:
        """Walk what is assigned to a slot, which belongs to the tree around the host; True if the slot shows its own content."""
        assigned, host = self.open[-1].pop(name, None), self.open.pop()
        for child in assigned or ():
            walk(child, alone=True)
        self.open.append(host)
        return not assigned


def shadow_tree(host: LexborNode) -> LexborNode | None:
    """The shadow tree that a child of an element declares."""
    child = host.first_child
    while child is not None:
        if child.tag == "template" and "shadowrootmode" in child.attributes:
            return next(iter(child.template_fragments()), None)
        child = child.next
    return None


def by_slot(host: LexborNode) -> dict[str, list[LexborNode]]:
    """The children of a host by the name of their slot; text goes to the one without a name."""
    found: dict[str, list[LexborNode]] = {}
    child = host.first_child
    while child is not None:
        name = "" if child.tag[0] == "-" else child.attributes.get("slot") or ""
        found.setdefault(name, []).append(child)
        child = child.next
    return found
