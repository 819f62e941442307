"""The words of the tales: plain data, no grammar. Every list is checked for size and overlap by a test."""

from typing import Final

WOMEN: Final = tuple(
    """Mia Ana Ella Zoe Ivy Lily Rosa Nina Ruby Clara Emma Hana Lena Maya Nora Olga Petra Sara Tara Vera Wendy
    Yara Alice Anya Bella Carla Dana Elsa Faye Gina Heidi Ines Jade Kira Lucy Mona Nadia Orla Pia Rita Sofia Thea Uma
    Viola Willa Xenia Yuki Zara Amira Beth Chloe Daisy Erin Fatima Grace Hazel Irene Judy Kate Leila Molly Naomi Olive
    Paula Queenie Rana Stella Tina Una Violet Wanda Zelda Ada Amber Cora Edith Flora Greta Holly Iris Joan
    """.split()
)
MEN: Final = tuple(
    """Tom Leo Ben Sam Max Finn Omar Paul Hugo Ravi Adam Boris Carl Dan Eli Felix George Henry Ian Jack Karl Liam
    Milo Noah Oscar Pete Quinn Rex Simon Theo Uri Victor Will Yusuf Zane Alan Amir Bruno Colin David Emil Frank Gus
    Hans Ivan Jonas Kofi Lars Marco Nico Otto Pablo Ralph Sven Tariq Umar Vince Walter Yann Zack Anton Basil Cyrus Dario
    Enzo Fred Gino Harry Igor Jamal Kenji Louis Mateo Nils Owen Philip Rory Stan Toby Ugo Wes
    """.split()
)
OBJECTS: Final = tuple(
    """ball kite drum hat book cup lamp key rope bell map coin ring box flute doll boat train robot puzzle
    whistle trumpet guitar violin marble crayon pencil brush candle lantern compass basket bucket shovel hammer saw
    wrench ladder broom mop sponge towel pillow blanket scarf glove boot sock coat jacket belt button ribbon needle
    spool purse wallet backpack suitcase umbrella mirror comb clock watch vase plate bowl spoon fork kettle teapot
    jug jar bottle mug pan pot tray napkin apron cake pie cookie muffin pancake sandwich carrot potato onion tomato
    pepper pumpkin melon lemon peach pear plum cherry banana mango grape fig walnut acorn feather shell stone pebble
    leaf flower rose tulip daisy seed stick branch log pinecone crystal gem pearl diamond crown medal trophy flag
    banner poster ticket stamp letter postcard envelope notebook diary newspaper magazine card dice token magnet
    battery wire radio camera telescope microscope magnifier globe model puppet mask cape wand sword shield helmet
    bow arrow anchor oar paddle net hook buoy lure skate sled ski scooter bicycle helm saddle bridle horseshoe
    wheel spring gear bolt nail screw brick tile plank ruler eraser sharpener slate easel canvas painting statue
    necklace bracelet brooch earring fan parasol slipper sandal sweater shirt dress cardigan vest tie cap bonnet
    turban quilt rug curtain cushion stool chair teddy yoyo top balloon bubble pinwheel frisbee hoop racket bat
    puck glider rocket drone tractor truck wagon cart crane canoe raft snowglobe harp cello banjo tambourine
    harmonica accordion fiddle gong triangle cymbal bagpipe loaf bun bagel waffle donut tart pretzel dumpling noodle
    honeycomb cheese egg kiwi strawberry biscuit lollipop chocolate candy caramel meringue cupcake pickle mushroom
    radish turnip cabbage coconut pineapple papaya apricot thimble spade rake hoe trowel hose sieve funnel
    """.split()
)
COUNTED: Final = tuple(
    """apples oranges shells stones marbles coins stamps cookies pencils books flowers eggs nuts berries buttons
    beads cards stickers balloons feathers acorns plums pears candles keys cups spoons ribbons bricks seeds leaves
    cherries lemons carrots muffins tickets postcards crayons socks hats kites boats bells ducks hens rabbits
    """.split()
)
EATEN: Final = frozenset(
    "apples oranges cookies eggs nuts berries plums pears cherries lemons carrots muffins".split()
)
NUMBERS: Final = tuple(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen".split()
)
ADJECTIVES: Final = tuple(
    """red blue green yellow purple orange white black pink brown silver golden gray small big tiny huge little
    large round square long short thin thick heavy light old new shiny dusty clean dirty soft hard smooth rough
    bright dull pretty plain fancy simple lovely strange funny broken wooden paper glass metal plastic woolen silk
    leather striped spotted painted carved rusty sparkling warm cold sweet sour fresh cheap precious rare common
    favorite special magic secret wonderful curious crooked bent folded wrapped tangled fluffy fuzzy sticky slippery
    noisy quiet cozy handmade borrowed polished faded patched colorful wobbly
    """.split()
)
PLACES: Final = {
    "in": tuple(
        """garden park kitchen forest school library barn village town castle cave museum bakery attic cellar
        meadow valley desert jungle harbor workshop theater hospital bedroom hall yard orchard tower stable zoo
        classroom greenhouse courtyard field""".split()
    ),
    "at": tuple(
        "market station lake river beach farm bridge pond well inn fair shop dock playground".split()
    ),
    "on": tuple("hill roof island balcony porch mountain stage".split()),
}
SPOTS: Final = {
    "on": tuple("shelf table bench chest counter stairs sofa carpet wall windowsill desk piano".split()),
    "in": tuple("drawer cupboard sack trunk crate barrel closet oven sink bathtub nest bin".split()),
    "under": tuple("bed table bench sofa stairs tree bush carpet desk piano".split()),
    "behind": tuple("door fence tree curtains wall sofa shed bush rock".split()),
    "beside": tuple("fireplace gate tree shed rock fountain".split()),
}
ROLES: Final = tuple(
    """baker teacher farmer doctor sailor captain gardener painter king queen knight wizard witch pirate grandmother
    grandfather neighbor librarian postman fisherman tailor miller shepherd nurse pilot clown dragon giant stranger
    """.split()
)
ANIMALS: Final = tuple(
    """dog cat bird fox rabbit duck horse cow goat sheep mouse frog owl bear wolf squirrel hedgehog turtle snail bee
    butterfly spider crow swan pigeon donkey parrot lizard fish hen""".split()
)
# Something is felt after gaining a thing, or after losing one; the cause is always an event of the story.
GLAD: Final = tuple("happy glad proud thankful excited cheerful pleased delighted joyful merry".split())
SORRY: Final = tuple("sad upset cross gloomy worried unhappy sorry lonely disappointed miserable".split())

# (third person present, past). Giving: holder first; taking: new holder first.
GIVE: Final = (
    ("gives", "gave"),
    ("hands", "handed"),
    ("passes", "passed"),
    ("throws", "threw"),
    ("tosses", "tossed"),
    ("lends", "lent"),
    ("brings", "brought"),
    ("sends", "sent"),
    ("sells", "sold"),
    ("returns", "returned"),
    ("delivers", "delivered"),
)
GIVE_TO_ONLY: Final = frozenset({"returns", "delivers"})
SWAP: Final = (("swaps", "swapped"), ("trades", "traded"), ("exchanges", "exchanged"))
TAKE: Final = (
    ("takes", "took"),
    ("grabs", "grabbed"),
    ("borrows", "borrowed"),
    ("gets", "got"),
    ("snatches", "snatched"),
    ("receives", "received"),
    ("steals", "stole"),
    ("accepts", "accepted"),
    ("wins", "won"),
    ("buys", "bought"),
)
FIND: Final = (
    ("finds", "found"),
    ("discovers", "discovered"),
    ("picks up", "picked up"),
    ("grabs", "grabbed"),
)
OWN: Final = (
    ("has", "had"),
    ("owns", "owned"),
    ("carries", "carried"),
    ("makes", "made"),
    ("holds", "held"),
)
PUT: Final = (
    ("puts", "put"),
    ("leaves", "left"),
    ("hides", "hid"),
    ("drops", "dropped"),
    ("places", "placed"),
    ("sets", "set"),
    ("forgets", "forgot"),
)
LOSE: Final = (("loses", "lost"),)
CARRY: Final = (("carries", "carried"), ("takes", "took"), ("brings", "brought"))
UNKIND: Final = frozenset({"grabs", "snatches", "steals"})  # ways to take that nobody says thanks for
# What a thing can be to someone: LIKE where it can be seen, WANT where someone else has it, MISS where it lies.
LIKE: Final = (
    ("likes", "liked"),
    ("looks at", "looked at"),
    ("admires", "admired"),
    ("touches", "touched"),
    ("points at", "pointed at"),
    ("draws", "drew"),
    ("praises", "praised"),
)
WANT: Final = (("wants", "wanted"), ("asks for", "asked for"), ("dreams of", "dreamed of"))
MISS: Final = (("misses", "missed"), ("dreams of", "dreamed of"), ("thinks of", "thought of"))
# (third person present, past, plural present)
GO: Final = (
    ("goes", "went", "go"),
    ("walks", "walked", "walk"),
    ("runs", "ran", "run"),
    ("hurries", "hurried", "hurry"),
    ("skips", "skipped", "skip"),
    ("rides", "rode", "ride"),
    ("marches", "marched", "march"),
    ("wanders", "wandered", "wander"),
    ("travels", "traveled", "travel"),
    ("races", "raced", "race"),
    ("returns", "returned", "return"),
    ("strolls", "strolled", "stroll"),
    ("sneaks", "sneaked", "sneak"),
    ("moves", "moved", "move"),
)
SAY: Final = (
    ("says", "said"),
    ("shouts", "shouted"),
    ("whispers", "whispered"),
    ("calls", "called"),
    ("replies", "replied"),
    ("cries", "cried"),
)
ASK: Final = (("asks", "asked"), ("wonders", "wondered"))
# What people do between events: it changes nothing that is asked about.
ACT: Final = tuple(
    (present.strip(), past.strip())
    for present, past in (
        pair.split("/")
        for pair in """laughs/laughed; smiles/smiled; sings a song/sang a song; dances/danced;
        hums a tune/hummed a tune; waves/waved; yawns/yawned; sneezes/sneezed; claps/clapped;
        jumps for joy/jumped for joy; giggles/giggled; whistles/whistled; sits down/sat down;
        stands up/stood up; looks around/looked around; nods/nodded; shrugs/shrugged;
        sleeps a little/slept a little; wakes up early/woke up early;
        counts the clouds/counted the clouds; watches the birds/watched the birds;
        reads a poem/read a poem; tells a joke/told a joke; thinks for a while/thought for a while;
        waits for a while/waited for a while; listens to the wind/listened to the wind;
        drinks some water/drank some water; eats a little bread/ate a little bread;
        paints a picture/painted a picture; sweeps the floor/swept the floor;
        feeds the hens/fed the hens; pets the dog/petted the dog; washes the dishes/washed the dishes;
        cooks some soup/cooked some soup; bakes some bread/baked some bread;
        climbs a tree/climbed a tree; swims a little/swam a little; plays a game/played a game;
        builds a fort/built a fort; chases a butterfly/chased a butterfly;
        follows a snail/followed a snail; trips over a root/tripped over a root;
        slips on the grass/slipped on the grass; stretches/stretched; sighs/sighed; winks/winked;
        blinks/blinked; coughs/coughed; snores/snored; shivers/shivered; spins around/spun around;
        rests in the shade/rested in the shade; writes a note/wrote a note;
        learns a new word/learned a new word; studies the stars/studied the stars;
        helps an old man/helped an old man; greets the baker/greeted the baker;
        thanks everyone/thanked everyone; makes a wish/made a wish; keeps a secret/kept a secret;
        solves a riddle/solved a riddle; rolls in the hay/rolled in the hay;
        kicks a pebble/kicked a pebble; pulls some weeds/pulled some weeds;
        waters the plants/watered the plants; plants a tree/planted a tree;
        picks some berries/picked some berries; catches a leaf/caught a leaf; ties a knot/tied a knot;
        lights a fire/lit a fire; opens the window/opened the window; closes the gate/closed the gate;
        knocks twice/knocked twice; rings twice/rang twice; tastes the soup/tasted the soup;
        smells the roses/smelled the roses; stirs the tea/stirred the tea;
        folds the laundry/folded the laundry; fixes the fence/fixed the fence;
        cleans the windows/cleaned the windows; digs a hole/dug a hole; pushes a swing/pushed a swing;
        crosses the street/crossed the street; bows/bowed; blushes/blushed; frowns/frowned;
        grins/grinned; mumbles/mumbled; practices hard/practiced hard; guesses wrong/guessed wrong;
        remembers a dream/remembered a dream; invents a game/invented a game;
        measures the door/measured the door; hops on one leg/hopped on one leg""".split(";")
    )
)
SETTINGS: Final = (
    "the sun {is|was} warm",
    "the wind {is|was} cold",
    "it {is|was} raining",
    "it {is|was} a quiet morning",
    "it {is|was} a busy day",
    "snow {falls|fell} on the roofs",
    "the sky {is|was} full of stars",
    "the moon {is|was} bright",
    "the air {smells|smelled} of bread",
    "clouds {drift|drifted} by",
    "somewhere a bell {rings|rang}",
    "the leaves {are|were} turning yellow",
    "a small {animal} {sleeps|slept} nearby",
    "a {animal} {looks|looked} up",
    "an old {animal} {makes|made} a sound",
    "two {animal} tracks {lead|led} away",
    "the {role} {walks|walked} past",
    "the {role} {tells|told} a story",
    "the {role} {hums|hummed} a song",
    "the {role} {waves|waved}",
    "everyone {talks|talked} about the {role}",
    "the {role} and the {animal} {sit|sat} together",
    "the {role} {dreams|dreamed} of far lands",
    "the {role} {is|was} busy",
    "the {role} {laughs|laughed} and {goes|went} away",
    "the {role} {counts|counted} to ten",
    "the grass {is|was} wet",
    "the days {grow|grew} longer",
    "the birds {sing|sang} in the trees",
    "the clock {strikes|struck} twelve",
    "far away a {animal} {calls|called}",
    "the {animal} {hides|hid} from the {role}",
    "the {animal} {follows|followed} the {role}",
    "nobody {hears|heard} the {animal}",
    "fog {covers|covered} the valley",
    "a rainbow {appears|appeared}",
    "it {smells|smelled} of flowers",
    "the lamps {go|went} on, one by one",
    "the water {is|was} calm and clear",
)
OPENINGS: Final = (
    "One day,",
    "One morning,",
    "One evening,",
    "Once upon a time,",
    "Last summer,",
    "On a rainy day,",
)
OPENINGS_PRESENT: Final = ("Today,", "This morning,", "One day,", "It is noon, and", "On this day,")
LEADS: Final = (
    "Then",
    "Later,",
    "After that,",
    "Next,",
    "Soon",
    "A little later,",
    "Suddenly",
    "At last,",
)
LEADS_PRESENT: Final = (*LEADS, "Now")
THANKS: Final = ("Thank you!", "Thanks a lot!", "How kind of you!", "You are a good friend!", "I love it!")
REMARKS: Final = (
    "What a lovely day!",
    "I am hungry.",
    "Look at the sky!",
    "Let us play.",
    "I am so tired.",
    "Where are we?",
    "This is fun!",
    "Be careful!",
    "Hello, my friend!",
    "Good morning!",
    "I have an idea.",
    "Do not worry.",
    "Listen!",
    "It is late.",
    "What is that sound?",
    "I like it here.",
    "Winter is coming.",
    "Do you hear the bells?",
    "My feet hurt.",
    "I had a strange dream.",
    "Tomorrow we can rest.",
    "I will tell you a secret.",
    "That is a good question.",
    "I can not believe it!",
    "You are funny!",
    "Wait for me!",
)
ENDINGS: Final = (
    "Everyone {is|was} happy",
    "It {is|was} a good day",
    "Then everyone {goes|went} to sleep",
    "And that {is|was} that",
    "It {is|was} time to rest",
    "The stars {come|came} out",
    "Everyone {goes|went} home with a smile",
    "What a day it {is|was}",
    "The {role} {writes|wrote} a song about it",
    "The sun {sets|set} behind the hills",
    "And the {animal} {sees|saw} it all",
    "Nobody {forgets|forgot} that day",
)
ENDINGS_TOGETHER: Final = (
    "They all {laugh|laughed} together",
    "They {promise|promised} to meet again",
    "From then on, they {are|were} good friends",
)
"""Where more than one person is in the story."""
