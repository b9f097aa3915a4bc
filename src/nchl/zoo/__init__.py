"""Evolved individuals that ship with nchl: `zoo:NAME` stands wherever the folder of a run is read.

    from nchl import zoo
    for card in zoo.cards().values():
        print(card.name, card.task, card.score.mean)

`index.json` has a card for each; `individuals/NAME/` is its run folder, which is never written to.
"""

from nchl.zoo.index import PREFIX as PREFIX
from nchl.zoo.index import Card as Card
from nchl.zoo.index import Score as Score
from nchl.zoo.index import card as card
from nchl.zoo.index import cards as cards
from nchl.zoo.index import checked_folder as checked_folder
from nchl.zoo.index import name_of as name_of
