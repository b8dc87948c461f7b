"""Tests of the plausibility of cp1252."""

import pytest

from blossomtune.data.sources import cp1252


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Müller sagte: „Spaß“ – über 5 € für 2½ m²…",
        "L’œuvre créée à Noël où ça coûte 5 €, « très bien »",
        "¿Dónde está el niño? ¡Aquí!",
        "Não é fácil, a informação está à disposição",
        "Perché la città è più bella, così è la verità",
        "Rødgrød med fløde på æblet",
        "Välkommen till Malmö, där är det kallt",
    ],
)
def test_western_languages_are_plausible(text):
    assert text.encode("cp1252").decode("cp1252") == text
    assert cp1252.is_plausible([text])


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("cp1250", "Dvořák šel do města a řekl, že je to dobré"),
        ("cp1250", "Zażółć gęślą jaźń"),
        ("cp1250", "Őszintén szólva kitűnő, erős írás, az idő gyorsan telt"),
        ("cp1250", "Knjiga je zelo dobra, všeč mi je bila že na začetku"),
        ("cp1251", "Привет, как дела"),
        ("cp1253", "Καλημέρα κόσμε"),
        ("cp1254", "İyi günler, nasılsın şimdi"),
        ("cp1255", "שלום עולם"),
        ("cp1257", "Grāmata ir ļoti laba, es to iesaku visiem, kas mīl vēsturi šeit"),
        ("mac_roman", "Müller schön"),
        ("cp850", "trés élégant"),
        ("gb18030", "你好世界"),
        ("utf-8", "Müller"),
    ],
)
def test_text_of_another_encoding_is_not_plausible(encoding, text):
    assert not cp1252.is_plausible([text.encode(encoding).decode("cp1252")])
