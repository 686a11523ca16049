"""Declarative shadow DOM: the tree in `<template shadowrootmode>` replaces its host's children, which are assigned to its slots."""

from collections.abc import Callable

from selectolax.lexbor import LexborNode

#: Largest depth of nested shadow trees; deeper ones are ignored.
MAX_DEPTH = 32


class Hosts:
    """The shadow hosts around the current position of a walk, each with its unassigned children by the name of their slot."""

    def __init__(self):
        self.open: list[dict[str, list[LexborNode]]] = []
        self.depth = 0

    def enter(self, node: LexborNode, tag: str, attributes: dict, walk: Callable[..., None]) -> bool:
        """Whether the walk should enter an element; False if it was walked here, as a host or a slot."""
        if tag == "slot" and self.open:
            return self.slot(attributes.get("name") or "", walk)
        tree = shadow_tree(node) if self.depth < MAX_DEPTH else None
        if tree is None:
            return True
        self.open.append(by_slot(node))
        self.depth += 1
        walk(tree.first_child)
        self.depth -= 1
        self.open.pop()
        return False

    def slot(self, name: str, walk: Callable[..., None]) -> bool:
        """Walk the nodes assigned to a slot, which belong to the tree around the host; True if the slot shows its own content."""
        assigned, host = self.open[-1].pop(name, None), self.open.pop()
        for child in assigned or ():
            walk(child, alone=True)
        self.open.append(host)
        return not assigned


def shadow_tree(host: LexborNode) -> LexborNode | None:
    """The shadow tree declared by a child of an element, or None."""
    child = host.first_child
    while child is not None:
        if child.tag == "template" and "shadowrootmode" in child.attributes:
            return next(iter(child.template_fragments()), None)
        child = child.next
    return None


def by_slot(host: LexborNode) -> dict[str, list[LexborNode]]:
    """The children of a host by the name of their slot; text belongs to the unnamed slot."""
    found: dict[str, list[LexborNode]] = {}
    child = host.first_child
    while child is not None:
        name = "" if child.tag[0] == "-" else child.attributes.get("slot") or ""
        found.setdefault(name, []).append(child)
        child = child.next
    return found
