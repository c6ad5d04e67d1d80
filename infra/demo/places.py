"""Word lists for made-up people. Phone numbers are in the ranges that each country's regulator reserves for fiction."""

from dataclasses import dataclass


@dataclass(frozen=True)
class City:
    """A city with its state (or None) and some of its postcodes, written as in that country."""

    name: str
    state: str | None
    postcodes: tuple[str, ...]


@dataclass(frozen=True)
class Country:
    """`street` and `phone` are templates: `{n}` a house number, `{s}` a street, `#` any digit."""

    name: str
    share: int
    female: tuple[str, ...]
    male: tuple[str, ...]
    family: tuple[str, ...]
    streets: tuple[str, ...]
    street: str
    phone: str
    cities: tuple[City, ...]


COUNTRIES = (
    Country(
        "Germany", 24,
        ("Anna", "Lena", "Zoë", "Katharina", "Jule", "Ayşe"), ("Jonas", "Jörg", "Felix", "Matthias", "Emre", "Paul"),
        ("Müller", "Groß", "Schneider", "Yılmaz", "Köhler", "Wagner", "von der Heide"),
        ("Lindenweg", "Hauptstraße", "Am Mühlbach", "Rosengasse"), "{s} {n}", "+49 30 23125 ###",
        (
            City("Leipzig", "Saxony", ("04109", "04315")), City("Dresden", "Saxony", ("01067", "01309")),
            City("München", "Bavaria", ("80331", "81667")), City("Köln", "North Rhine-Westphalia", ("50667", "50823")),
        ),
    ),
    Country(
        "United Kingdom", 18,
        ("Olivia", "Niamh", "Grace", "Priya"), ("Oliver", "Hamish", "Rhys", "Imran"),
        ("Smith", "O'Neill", "Llewellyn", "Patel", "MacDonald"),
        ("Harbour Street", "Mill Lane", "Church Road", "Victoria Terrace"), "{n} {s}", "+44 1632 960###",
        (
            City("Edinburgh", "Scotland", ("EH1 1YZ", "EH6 5JG")), City("Cardiff", "Wales", ("CF10 1AE", "CF24 3DG")),
            City("Leeds", "England", ("LS1 4DY", "LS6 2AB")),
        ),
    ),
    Country(
        "United States", 26,
        ("Emma", "Maria", "Aaliyah", "Mei"), ("Liam", "José", "DeShawn", "Kai"),
        ("Johnson", "García", "Nguyen", "O'Brien", "Smith-Jones"),
        ("Maple Avenue", "2nd Street", "Cedar Court", "Riverside Drive"), "{n} {s}", "+1 617-555-01##",
        (
            City("Boston", "Massachusetts", ("02108", "02127")), City("Newark", "New Jersey", ("07102", "07105")),
            City("Austin", "Texas", ("78701", "78704")), City("Portland", "Oregon", ("97201", "97214")),
        ),
    ),
    Country(
        "France", 14,
        ("Chloé", "Inès", "Maëlle"), ("Loïc", "Rémi", "Noël"), ("Lefèvre", "Dupont", "N'Diaye", "Garçon"),
        ("rue de la République", "avenue des Tilleuls", "place du Marché"), "{n} {s}", "+33 1 99 00 ## ##",
        (
            City("Bourg-en-Bresse", "Auvergne-Rhône-Alpes", ("01000",)),
            City("Nice", "Provence-Alpes-Côte d'Azur", ("06000", "06300")),
            City("Lille", "Hauts-de-France", ("59000", "59800")),
        ),
    ),
    Country(
        "Sweden", 8,
        ("Astrid", "Åsa", "Maja"), ("Björn", "Östen", "Nils"), ("Lindström", "Åkesson", "Nilsson"),
        ("Storgatan", "Sjövägen", "Björkallén"), "{s} {n}", "+46 8 465 004 ##",
        (City("Malmö", None, ("211 20", "214 39")), City("Uppsala", None, ("753 10", "752 28"))),
    ),
    Country(
        "Australia", 10,
        ("Isla", "Matilda", "Ruby"), ("Jack", "Cooper", "Minh"), ("Taylor", "Wilson", "Tran"),
        ("George Street", "Wattle Grove", "Beach Road"), "{n} {s}", "+61 2 5550 ####",
        (
            City("Darwin", "Northern Territory", ("0800", "0810")), City("Hobart", "Tasmania", ("7000", "7004")),
            City("Sydney", "New South Wales", ("2000", "2010")),
        ),
    ),
)  # fmt: skip
