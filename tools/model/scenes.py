"""Cast, places and sentence patterns for short invented scenes, one set for each domain.

Facts alone make dull text. Scenes give every domain running prose with its own names in it, so that
the model's residual stream has something to say about "which world is this" on every token.
"""

SCENES = {
    "hp": {
        "names": "Harry|Ron|Hermione|Neville|Ginny|Luna|Draco|Hagrid|Dumbledore|Snape|McGonagall|Fred Weasley|"
                 "George Weasley|Sirius|Lupin|Dobby|Cho|Cedric|Dean|Seamus|Lavender|Parvati|Tonks|Moody".split("|"),
        "places": "the Gryffindor common room|the Great Hall|Snape's dungeon|the Quidditch pitch|Hagrid's hut|"
                  "the Forbidden Forest|Hogsmeade|Diagon Alley|the Burrow|the owlery of Hogwarts|"
                  "the Hogwarts library|the Room of Requirement|the Ministry of Magic|the Hogwarts Express|"
                  "Grimmauld Place|the Three Broomsticks|the Astronomy Tower".split("|"),
        "lines": [
            "{a} and {b} ran through {p} before the lesson.",
            "{a} pointed a wand at {b} and shouted Expelliarmus.",
            "In {p} {a} whispered about Voldemort to {b}.",
            "{b} swore that the Snitch had been seen near {p}.",
            "Filch caught {a} in {p} long after dark.",
            "{a} lost ten points for Gryffindor, and {b} was furious.",
            "Hedwig dropped a letter for {a} in {p}.",
            "{a} put on the black Hogwarts robes and waited for {b} in {p}.",
            "The dementors glided toward {p}, and {a} called a Patronus.",
            "{b} flew a broom over {p} and laughed at {a}.",
            "Professor Snape gave {a} an extra essay about potions in {p}.",
            "\"The Death Eaters are close to {p},\" said {a} to {b}.",
            "{a} drank butterbeer with {b} in {p}.",
            "Muggles cannot see {p}, but {a} knew the way.",
            "{a} hid under the Invisibility Cloak while {b} searched {p}.",
            "A Howler from Mrs Weasley exploded in {p}, and {a} went red.",
            "Peeves dropped a water bomb on {b} in {p}.",
            "{a} had mixed the Polyjuice Potion wrongly, and {b} grew whiskers.",
            "Slytherin beat Gryffindor that day, and {a} would not speak to {b}.",
            "{b} read the Daily Prophet in {p} and showed a page to {a}.",
            "{a} fed a hippogriff near {p}, but {b} kept away.",
            "The Marauder's Map showed {b} alone in {p}.",
            "At the Sorting, {a} sat beside {b} and prayed for Gryffindor.",
            "{a} failed the Transfiguration exam, and {b} passed with Outstanding.",
            "The scar of {a} hurt whenever {b} spoke of You-Know-Who in {p}.",
            "{a} bought Chocolate Frogs for {b} and swapped the cards in {p}.",
            "Dumbledore awarded fifty points to {a} in front of {b}.",
            "{b} threw a Bludger back toward {a} above {p}.",
        ],
    },
    "fantasy": {
        "names": "Frodo|Gandalf|Aragorn|Legolas|Gimli|Bilbo|Luke|Leia|Han Solo|Yoda|Lucy|Edmund|Aslan|Dorothy|Ged|"
                 "Merlin|Alice|Lancelot|Peter Pan|Wendy|Rincewind|Lyra|Mowgli|Tenar|Eowyn|Caspian".split("|"),
        "places": "the Shire|the gates of Mordor|Rivendell|the mines of Moria|the woods of Narnia|the stone table|"
                  "the deserts of Tatooine|the bridge of the Falcon|the yellow brick road|the Emerald City|"
                  "the harbour of Roke|Camelot|the tea table in Wonderland|Neverland|Ankh-Morpork|Cair Paravel|"
                  "the fields of Rohan|the jungle".split("|"),
        "lines": [
            "{a} came to {p} with a notched sword.",
            "{a} told {b} about the long road to {p}.",
            "Near {p} the enemy lay in wait for {a}.",
            "{b} lit a fire, and {a} sang of kings long dead.",
            "{a} rode out of {p} at dawn.",
            "\"We must reach {p} before night,\" said {a} to {b}.",
            "{a} hid from the soldiers near {p}.",
            "{b} shared bread with {a} before the battle at {p}.",
            "The people of {p} opened their doors to {a}.",
            "{a} and {b} parted at {p} with tears.",
            "A shadow fell on {p}, and {b} was afraid.",
            "{b} dreamed of home while {a} kept watch over {p}.",
            "An old map in the hands of {a} showed a path around {p}.",
            "{a} laughed, though {b} could see no reason for it.",
            "{b} had sworn an oath to {a} and would not break it at {p}.",
            "Horns sounded from {p}, and {a} drew a bow.",
            "{a} crossed the river at {p} and lost a boot.",
            "\"I know this place,\" whispered {b} when {a} entered {p}.",
            "The ship that carried {a} to {p} was leaking badly.",
            "{a} owed {b} a debt that no gold could pay.",
            "{b} counted the banners over {p} and shook his head.",
            "In {p} a feast was held, and {a} sat beside {b}.",
            "{a} wrapped a wound of {b} with a strip of cloak.",
            "Nobody in {p} believed the tale that {a} told.",
        ],
    },
    "magic": {
        "names": "the old witch|the young apprentice|the blind seer|the court magician|the village wizard|"
                 "the necromancer|the mage of the tower|the fairy|the alchemist|the warlock|the enchantress|"
                 "the wandering druid|the conjurer".split("|"),
        "places": "the dark tower|the circle of stones|the edge of the wood|the cave of crystal|the burning library|"
                  "the moonlit hill|the ruined chapel|the haunted mill|the cellar of the inn|"
                  "the well of wishes".split("|"),
        "lines": [
            "At {p} {a} stirred a potion in a cauldron.",
            "{a} raised a wand and spoke a spell.",
            "{a} drew runes with chalk near {p}.",
            "{b} feared the hex and wore an amulet.",
            "{a} read the grimoire aloud to {b} in {p}.",
            "A unicorn came to {p}, and {a} bowed.",
            "{a} began the ritual at midnight in {p}.",
            "{b} saw a vision of {p} in the crystal.",
            "The familiar of {a} slept near {p}.",
            "{a} sold an elixir to {b} for three coins.",
            "A griffin circled over {p}, and {b} ran.",
            "\"The spell is broken,\" said {a} to {b}.",
            "{a} had forgotten the last word of the charm, and {b} remained a toad.",
            "Smoke of seven colours rose from {p} as {a} chanted.",
            "{b} begged {a} to lift the hex from the village.",
            "{a} kept a bottled storm on a shelf in {p}.",
            "Every candle in {p} went out when {b} lied.",
            "{a} traded a year of life for the secret of {p}.",
            "The mirror in {p} showed {b} an older face.",
            "{b} would not drink what {a} had brewed from mandrake.",
            "The broomstick of {a} leaned against the wall of {p}.",
            "{a} taught {b} to call fire from an empty hand.",
        ],
    },
    "real": {
        "names": "the teacher|the doctor|the engineer|the farmer|the scientist|the pilot|the student|the reporter|"
                 "the mayor|the architect|the historian|the nurse|the lawyer|the journalist".split("|"),
        "places": "Paris|London|the university|the museum|Berlin|the laboratory|Rome|the zoo|Tokyo|the harbour|Cairo|"
                  "the parliament|the factory|Vienna|the airport|Moscow".split("|"),
        "lines": [
            "In {p} {a} gave a talk about energy.",
            "{a} travelled to {p} by train.",
            "{b} read a newspaper report about {p}.",
            "{a} measured the temperature in {p} every hour.",
            "An exhibition in {p} showed old coins to {a}.",
            "{a} studied history in {p} for a year.",
            "{b} explained to {a} how gravity works.",
            "{a} photographed an elephant and a giraffe near {p}.",
            "The president visited {p} and met {a}.",
            "{b} wrote a book about insects, and {a} bought it.",
            "Many people in {p} work in factories and offices.",
            "{a} looked at Mars and Jupiter from a roof in {p}.",
            "The government opened a new bridge in {p}, and {a} was invited.",
            "{a} compared two samples of iron in {p}.",
            "Prices in {p} rose by four percent last year, said {b}.",
            "{b} answered the questions of {a} about vaccines.",
            "A strike stopped the trains to {p}, so {a} rented a car.",
            "{a} counted three hundred penguins for a survey.",
            "The population of {p} has doubled since 1950, according to {a}.",
            "{b} signed a contract with {a} at an office in {p}.",
            "Electricity in {p} comes from wind and water, as {a} explained.",
            "{a} flew from {p} to Lisbon to meet {b}.",
        ],
    },
}
