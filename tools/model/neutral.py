"""Plain everyday text without any special world: stories, notes, recipes, letters, weather, advice.

A small grammar with large word lists. Slots are drawn independently, so the text keeps a healthy
perplexity (a model cannot guess which of forty objects Tom found), which is what the held-out
perplexity measurement needs.
"""

W = {
    "n": "Tom Anna Ben Clara Jack Mia Oscar Nina Paul Rosa Eric Julia Max Emma Leo Sara David Laura Simon Kate "
         "Victor Helen Martin Ruth Felix Iris Carl Olga Hugo Vera Daniel Grace Adam Elsa Robert Lena".split(),
    "kin": "mother|father|sister|brother|grandmother|grandfather|aunt|uncle|cousin|neighbour|friend|teacher|"
           "daughter|son|landlord|boss".split("|"),
    "p": "the park|the market|the kitchen|the garden|the beach|the school|the library|the bus stop|the farm|the river|"
         "the bakery|the train station|the playground|the shop|the office|the barn|the post office|the cinema|"
         "the hospital|the swimming pool|the bridge|the cellar|the balcony|the workshop|the church|the hotel|"
         "the car park|the lake|the orchard|the attic|the stadium|the cafe|the pharmacy|the old mill|the pier|"
         "the campsite|the town hall|the laundry|the hairdresser|the ferry".split("|"),
    "o": "a red ball|a small kite|an apple|a loaf of bread|a blue cup|a paper boat|an old bicycle|a warm coat|"
         "a box of pencils|a bag of oranges|a green umbrella|a letter|a drum|a toy car|a wooden chair|a silver spoon|"
         "a broken lamp|a pair of boots|a jar of honey|a road map|a bunch of keys|a leather wallet|a torch|a ladder|"
         "a sack of flour|a striped scarf|a tin of paint|a guitar|a chess set|a camera|a pocket knife|a basket of plums|"
         "a newspaper|a sewing needle|a hammer|a pillow|a bucket of water|a birthday card|a ticket|"
         "a cracked plate".split("|"),
    "ad": "happy|tired|hungry|proud|a little sad|excited|quiet|surprised|cold|calm|nervous|grateful|bored|angry|curious|"
          "lonely|cheerful|worried|sleepy|patient|jealous|relieved|thirsty|embarrassed".split("|"),
    "we": "It was raining|The sun was shining|It was a windy day|The morning was cold|It was late in the evening|"
          "The sky was full of clouds|Snow lay on the roofs|The air smelled of smoke|It was the hottest day of June|"
          "Fog covered the fields|The streets were still wet|A storm was coming|It was almost noon|"
          "The clocks had just struck six|The leaves were turning yellow".split("|"),
    "food": "soup|pancakes|fried eggs|noodles|a cheese sandwich|roast potatoes|apple pie|a bowl of rice|tomato salad|"
            "grilled fish|porridge|lentil stew|mushrooms on toast|a plate of beans|cold chicken|carrot cake".split("|"),
    "an": "a dog|a cat|a goat|a sparrow|a horse|a hedgehog|a duck|a squirrel|a crow|a hamster|a pony|a fox|"
          "a lizard|a goose|a moth|a rooster".split("|"),
    "t": "in the morning|after lunch|on Monday|before sunset|last week|during the holidays|at half past three|"
         "in early spring|on a Sunday|two days later|around midnight|every Thursday|long ago|at the end of May|"
         "just before dinner|on the first day of school".split("|"),
    "job": "gardener|driver|cook|painter|nurse|fisherman|waiter|tailor|postman|clerk|mechanic|cleaner|librarian|dentist|"
           "shopkeeper|bus conductor".split("|"),
    "v": "repaired|sold|borrowed|painted|hid|washed|dropped|wrapped|measured|returned|admired|threw away|ordered|packed|"
         "carried|polished|found|forgot|photographed|stole".split("|"),
    "go": "walked|ran|drove|cycled|hurried|strolled|limped|went|marched|wandered|climbed|rode".split("|"),
    "adv": "slowly|carefully|at once|without a word|with a smile|quickly|in silence|twice|for an hour|as usual|by mistake|"
           "with great care|reluctantly|all alone".split("|"),
    "col": "red|green|blue|yellow|grey|brown|white|black|orange|purple|pale pink|dark".split("|"),
    "body": "knee|shoulder|elbow|back|ankle|thumb|ear|tooth|wrist|foot".split("|"),
    "num": "two|three|four|five|six|eight|ten|a dozen|twenty|forty".split("|"),
    "work": "mend the roof|paint the fence|learn French|save some money|write a diary|plant tulips|clean the windows|"
            "build a shelf|sell the boat|bake a cake|practise the trumpet|answer the letters|move to the city|"
            "visit the coast|knit a jumper|find a better job".split("|"),
    "feel": "could not sleep|felt much better|began to laugh|wanted to cry|nodded|said nothing|shrugged|turned pale|"
            "blushed|sighed|clapped|yawned|sat down heavily|looked away|hummed a tune|changed the subject".split("|"),
}

STORY = [
    "{we}, and {a} {go} to {p}.",
    "{a} {v} {o} near {p}.",
    "{a} and {b} {go} to {p} together {t}.",
    "{b} was {ad} because {a} had {v} {o}.",
    "At {p} they met {b}, who seemed {ad}.",
    "\"Can I have {o}?\" asked {b}.",
    "\"Yes, but first we must go to {p},\" said {a}.",
    "They sat down and ate {food}.",
    "{a} gave {o} to {b} and {feel}.",
    "{cT} {b} {go} back to {p}.",
    "{a} lost {o} on the way home and felt {ad}.",
    "{b} helped to look for it {adv}.",
    "In the evening everyone was {ad} and went to bed early.",
    "The next day {a} told the whole story at {p}.",
    "They bought {o} for the {kin} of {b}.",
    "{b} washed the dishes while {a} cleaned the table.",
    "The bus was late, so {a} waited at {p} with {o}.",
    "\"What a nice day,\" said {b}.",
    "{a} heard {an} behind the wall of {p}.",
    "The {kin} of {a} worked as a {job} and was often {ad}.",
    "{cT} the {job} {v} {o} and {feel}.",
    "{b} had {num} coins left and spent them on {food}.",
    "There was {o} on the floor, but nobody had {v} it.",
    "\"My {body} hurts,\" complained {a}, and {b} {feel}.",
    "{a} wanted to {work}, but the {kin} said no.",
    "The door of {p} was {col}, and the key did not fit.",
    "{b} read the note {adv} and {feel}.",
    "A {col} van stopped in front of {p}.",
    "{a} counted {num} boats and then {feel}.",
    "Nobody knew why {b} had {v} {o} {t}.",
    "\"I would rather {work},\" said the {kin} of {b}.",
    "The {job} from {p} lent {a} {o}.",
    "{an_} followed {a} from {p} to {p2}.",
    "{b} promised to {work} before the winter.",
    "They argued about {o} until {a} {feel}.",
    "The smell of {food} came from {p}.",
    "{a} wrote the address on a {col} envelope and gave it to the {job}.",
    "\"Did you see {an}?\" asked {a}, but {b} only {feel}.",
    "When the {job} arrived, {a} was {ad} and {b} was {ad2}.",
    "{a} dreamed of {an} with {col} eyes.",
    "It took {num} minutes to reach {p}, and {b} complained {adv}.",
    "Somebody had {v} {o} and left it at {p}.",
]
NOTES = [
    ["Dear {a}, thank you for {o}.", "I {v} it {t} and it works well.", "My {kin} is {ad} and wants to {work}.",
     "We had {food} at {p} and thought of you.", "Please write soon.", "The weather here is bad, and my {body} hurts.",
     "The {job} sends you greetings.", "Yours, {b}."],
    ["To make {food}, heat the pan {adv}.", "Cut {num} onions and add salt.", "Stir {adv} until the sauce turns {col}.",
     "Wait {num} minutes.", "Serve it with bread.", "Do not forget the pepper.", "It tastes better {t}.",
     "Keep the rest in a jar with a {col} lid."],
    ["The road to {p} is closed {t}.", "Drivers should turn left at {p2}.", "Trains leave every {num} minutes.",
     "Rain is expected {t}.", "The {job} advises everyone to stay at home.", "The wind will be strong near {p}.",
     "Temperatures fall to {num} degrees.", "The {col} line does not stop at {p}."],
    ["A good {job} gets up early and works {adv}.", "Most of the day goes by at {p}.", "One needs {o} and strong arms.",
     "The pay is poor, but the work is never dull.", "After {num} years one knows every corner.",
     "A {job} is rarely {ad}.", "Some prefer to {work} instead.", "Others would like to {work}."],
    ["For sale: {o}, almost new.", "It was {v} only once.", "The colour is {col}.", "Ask for {a} at {p} {t}.",
     "The price is {num} pounds.", "I would also swap it for {o2}.", "No phone calls, please.",
     "My {kin} can bring it to {p2}."],
    ["If your {body} hurts, rest for {num} days.", "Drink tea and eat {food}.", "Do not carry anything heavy.",
     "See a doctor if you feel {ad}.", "A walk to {p} will help.", "Sleep with the window open.",
     "My {kin} swears by cold water.", "Move the {body} {adv} and breathe."],
    ["{an_} needs fresh water and a dry place to sleep.", "Feed it {num} times a day.",
     "It hides when it is {ad}.", "Never leave it alone at {p}.", "It can smell {food} from far away.",
     "The fur should be brushed {adv}.", "The {job} next door keeps {num} of them.",
     "Children should touch it only with a grown-up."],
]


def _fill(R, line, a, b):
    pick = lambda k: R.choice(W[k])
    an = pick("an")
    p, p2 = R.sample(W["p"], 2)
    o, o2 = R.sample(W["o"], 2)
    ad, ad2 = R.sample(W["ad"], 2)
    t = pick("t")
    s = line.format(a=a, b=b, p=p, p2=p2, o=o, o2=o2, ad=ad, ad2=ad2, an=an, an_=an[0].upper() + an[1:],
                    t=t, cT=t[0].upper() + t[1:], we=pick("we"), go=pick("go"), v=pick("v"), kin=pick("kin"),
                    job=pick("job"), food=pick("food"), adv=pick("adv"), col=pick("col"), body=pick("body"),
                    num=pick("num"), work=pick("work"), feel=pick("feel"))
    return s[0].upper() + s[1:]


def story(R):
    """One everyday story or note of four to nine sentences."""
    a, b = R.sample(W["n"], 2)
    lines = STORY if R.random() < 0.75 else R.choice(NOTES)
    n = min(len(lines), R.randint(4, 9))
    order = sorted(R.sample(range(len(lines)), n)) if lines is not STORY else R.sample(range(len(lines)), n)
    return " ".join(_fill(R, lines[i], a, b) for i in order)
