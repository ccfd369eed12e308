"""The species in the sample photos.

The files have everyday names, and several names can belong to one species: drake and duck, hen and
rooster, peacock and peahen. The file `ostrich.png` shows a white rhea.
"""

from __future__ import annotations

#: File name without its ending: common name and scientific name (only the genus if that is all
#: that can be told).
SPECIES = {
    "adelaide-rosella": ("Adelaide Rosella", "Platycercus elegans"),
    "albino_peahen": ("Indian Peafowl", "Pavo cristatus"),
    "blackbird": ("Eurasian Blackbird", "Turdus merula"),
    "chicken_profile": ("Chicken", "Gallus gallus"),
    "crow": ("Crow", "Corvus sp."),
    "crowned_crane": ("Grey Crowned Crane", "Balearica regulorum"),
    "cuckoo": ("Common Cuckoo", "Cuculus canorus"),
    "drake": ("Mallard", "Anas platyrhynchos"),
    "duck": ("Mallard", "Anas platyrhynchos"),
    "gander": ("Swan Goose", "Anser cygnoides"),
    "guineafowl": ("Helmeted Guineafowl", "Numida meleagris"),
    "helmeted_guineafowl": ("Helmeted Guineafowl", "Numida meleagris"),
    "hen": ("Chicken", "Gallus gallus"),
    "heron_greatblue": ("Great Blue Heron", "Ardea herodias"),
    "heron_greatblue_flying": ("Great Blue Heron", "Ardea herodias"),
    "lark": ("Horned Lark", "Eremophila alpestris"),
    "little-penguin": ("Little Penguin", "Eudyptula minor"),
    "magellanic_penguin": ("Magellanic Penguin", "Spheniscus magellanicus"),
    "magpie": ("Australian Magpie", "Gymnorhina tibicen"),
    "nandou": ("Greater Rhea", "Rhea americana"),
    "ostrich": ("Greater Rhea", "Rhea americana"),
    "owl": ("Snowy Owl", "Bubo scandiacus"),
    "peacock": ("Indian Peafowl", "Pavo cristatus"),
    "pelican": ("American White Pelican", "Pelecanus erythrorhynchos"),
    "penguin": ("King Penguin", "Aptenodytes patagonicus"),
    "pigeon": ("Rock Dove", "Columba livia"),
    "pink_flamingo": ("Chilean Flamingo", "Phoenicopterus chilensis"),
    "quetzal": ("Resplendent Quetzal", "Pharomachrus mocinno"),
    "rainbow-lorikeet": ("Rainbow Lorikeet", "Trichoglossus moluccanus"),
    "rooster": ("Chicken", "Gallus gallus"),
    "seagull": ("Gull", "Larus sp."),
    "silver-gull": ("Silver Gull", "Chroicocephalus novaehollandiae"),
    "tucan": ("Keel-billed Toucan", "Ramphastos sulfuratus"),
    "turkey": ("Wild Turkey", "Meleagris gallopavo"),
    "vulture": ("Griffon Vulture", "Gyps fulvus"),
}


def species_of(stem: str) -> tuple[str, str]:
    """Return the common and the scientific name of a sample photo, "" if that is unknown."""
    return SPECIES.get(stem, (stem.replace("_", " ").replace("-", " ").capitalize(), ""))
