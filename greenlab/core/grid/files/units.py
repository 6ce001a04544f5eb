"""What the name of a column says about its unit: "lb_co2_per_mwh", "gCO₂eq/kWh", "t/MWh", or another quantity
altogether.
"""

from __future__ import annotations

import re
import unicodedata

POUND_G, SHORT_TON_G, LONG_TON_G = 453.59237, 907_184.74, 1_016_046.9088
GRAMS = {  # grams in one unit of mass; a "ton" may be metric or short
    "g": (1.0,), "gr": (1.0,), "gram": (1.0,), "gramme": (1.0,),
    "kg": (1e3,), "kilo": (1e3,), "kilogram": (1e3,), "kilogramme": (1e3,), "mg": (1e-3,), "milligram": (1e-3,),
    "t": (1e6,), "tonne": (1e6,), "metric ton": (1e6,), "metric tonne": (1e6,), "kt": (1e9,), "kilotonne": (1e9,),
    "mt": (1e12, 1e6), "megatonne": (1e12,), "ton": (1e6, SHORT_TON_G), "short ton": (SHORT_TON_G,), "long ton":
    (LONG_TON_G,),
    "lb": (POUND_G,), "lbm": (POUND_G,), "pound": (POUND_G,), "oz": (POUND_G / 16,), "ounce": (POUND_G / 16,),
}  # fmt: skip
KWH = {  # kilowatt-hours in one unit of energy
    "wh": 1e-3, "kwh": 1.0, "mwh": 1e3, "gwh": 1e6, "twh": 1e9, "kj": 1 / 3600, "mj": 1 / 3.6, "gj": 1e3 / 3.6, "tj":
    1e6 / 3.6,
}  # fmt: skip
_MASSES = "|".join(sorted(GRAMS, key=len, reverse=True))
_ENERGIES = "|".join(sorted(KWH, key=len, reverse=True))
_UNIT = re.compile(rf"(?<![^\W\d_])({_MASSES})s?[ .()\[\]]*(?:/| per |\s)[ .()\[\]]*({_ENERGIES})(?![^\W\d_])")
_ENERGY = re.compile(r"wh(?![^\W\d_])|(?<![^\W\d_])[kmgt]j(?![^\W\d_])")
_QUOTIENT = re.compile(r"/|(?<![^\W\d_])per(?![^\W\d_])")
_MASS = re.compile(
    r"(?<![^\W\d_])(kg|kilograms?|mg|t|(metric |short |long )?ton(ne)?s?|lbs?|lbm|pounds?|kt|mt|oz)(?![^\W\d_])"
)
_NO_INTENSITY = re.compile(
    r"(?<![^\W\d_])(prices?|costs?|tariffs?|eur|euros?|usd|gbp|chf|dkk|sek|nok|pln|cents?|temp\w*|celsius|fahrenheit|kelvin|"
    r"degrees?|deg|speed|humidity|pressure|percent|percentage|pct|ratio|share|rank|index|[kmgt]?w|[km]?va|hz|hpa|mm|ppm)(?![^\W\d_])"
    r"|[€$£¥%°]"
)
_ENERGY_FLOWS = re.compile(
    r"(?<![^\W\d_])(load|demand|consumption|production|generation|capacity|power|energy|emissions?|wind|solar|hydro|radiation|"
    r"irradiance|water|renewables?)(?![^\W\d_])"
)
_SAYS_INTENSITY = re.compile(r"intensi|emission factor|carbon|co ?2|ghg|(?<![^\W\d_])ci(?![^\W\d_])")
_BRACKET = re.compile(r"\[([^\]]*)\]")
# a letter is [^\W\d_], whatever its language
_UNITLESS_REMARKS = (
    "",
    "g",
    "direct",
    "lca",
    "life cycle",
    "lifecycle",
    "average",
    "avg",
    "mean",
    "marginal",
    "actual",
)


def plain_name(label: str) -> str:
    """A column's name in one spelling: lower case, spaces for underscores and hyphens, without the marks of CO2.

    >>> plain_name("kgCO₂eq_per_kWh"), plain_name("lb_co2_mwh"), plain_name("Carbon intensity [g CO2-eq. / kWh]")
    ('kg per kwh', 'lb mwh', 'carbon intensity [g / kwh]')
    """
    text = unicodedata.normalize("NFKC", label)
    text = re.sub(r"(?<![A-Za-z])Mg(?![a-z])", "t", text)  # a megagram is a tonne; "mg" is a milligram
    text = text.lower().replace("_", " ")
    text = re.sub(r"per(?=\s*(?:[kmgt]?wh|[kmgt]j|(?:kilo|mega|giga|tera)?watt)(?![a-vx-z]))", " per ", text)
    text = re.sub(r"(?:\bof )?(?:carbon dioxide|co ?2)(?:[ -]?(?:equivalents?|equiv|eqv|eq|e))?(?![a-z])\.?", " ", text)
    text = text.replace("-", " ")
    text = re.sub(r"(kilo|mega|giga|tera)?watt ?hours?\b", lambda match: f"{(match[1] or '')[:1]}wh", text)
    text = re.sub(r"\b([kmgt]?)w[ .·]h\b", r"\1wh", text)
    text = re.sub(r"(kilo|mega|giga|tera)joules?\b", lambda match: f"{match[1][:1]}j", text)
    return re.sub(r"\s+", " ", text).strip()


def factors_to_g_per_kwh(label: str) -> tuple[float, ...] | None:
    """Factors from the unit in a column's name to g/kWh: one, two where the word has two meanings, None where no unit
    is named.

    Raises:
        ValueError: if the name holds a unit that is not understood, or is that of another quantity.

    >>> factors_to_g_per_kwh("intensity (gCO₂eq/kWh)"), factors_to_g_per_kwh("kg_per_kwh")
    ((1.0,), (1000.0,))
    >>> print(factors_to_g_per_kwh("value"))
    None
    >>> factors_to_g_per_kwh("price_eur_per_mwh")
    Traceback (most recent call last):
    ...
    ValueError: column 'price_eur_per_mwh' is not a carbon intensity in a unit that is known: ...
    """
    text = plain_name(label)
    if match := _UNIT.search(text):
        return tuple(grams / KWH[match[2]] for grams in GRAMS[match[1]])
    bracket = _BRACKET.search(text)
    strange = bracket is not None and bracket[1].strip() not in _UNITLESS_REMARKS and len(bracket[1].strip()) > 2
    flow = _ENERGY_FLOWS.search(text) and not re.search("intensi|factor", text)
    if (
        _ENERGY.search(text)
        or _QUOTIENT.search(text)
        or _MASS.search(text)
        or _NO_INTENSITY.search(text)
        or strange
        or flow
    ):
        raise ValueError(
            f"column {label[:60]!r} is not a carbon intensity in a unit that is known: name a column of carbon "
            f"intensity by its "
            "unit, such as 'intensity_g_per_kwh', 'kgCO2/kWh' or 'lb_per_mwh'"
        )
    return None


def says_intensity(label: str) -> bool:
    """Whether a column's name says that it holds a carbon intensity, by its words or by its unit.

    >>> says_intensity("Intensität"), says_intensity("g/kWh"), says_intensity("price"), says_intensity("DE")
    (True, True, False, False)
    """
    if _UNIT.search(plain_name(label)):
        return True
    return bool(_SAYS_INTENSITY.search(unicodedata.normalize("NFKC", label).lower().replace("_", " ")))
