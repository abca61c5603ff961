uploads-only = Uploads only
offline-for = Offline { $duration }
card-nearly-full = Card nearly full
online-waiting = Online, { $count } waiting
online = Online
counter-pressed = { $count } pressed
counter-stored = { $count } stored
counter-deleted = { $count } deleted
counter-failed = { $count } without a picture
counter-held = { $count } held
counter-held-most = up to { $count } held
counter-missing = { $count } missing
counter-missing-least = at least { $count } missing
summary-online = { $online } of { $total } online.
summary-no-picture = No picture has been taken yet.
summary-all-other = All other pictures are either in the cloud or safe on a card.
summary-coarse = Every picture is in the cloud or, as far as the cameras could list them, safe on a card.
summary-deleted = Every picture is in the cloud, safe on a card, or deleted by you.
summary-all = Every picture is either in the cloud or safe on a card.
cameras-one = ({ $camera })
cameras-more =
    ({ $camera } and { $count ->
        [one] { $count } other
       *[other] { $count } others
    })
trouble-missing =
    { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } missing { $cameras }: taken, but neither in the cloud nor on a known card.
trouble-missing-least =
    At least { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } missing { $cameras }: taken, but neither in the cloud nor on a known card.
trouble-hold =
    { $count ->
        [one] { $count } picture waits
       *[other] { $count } pictures wait
    } on cards until the cloud takes pictures again.
trouble-failed =
    { $count ->
        [one] { $count } press gave
       *[other] { $count } presses gave
    } no picture; the camera reported the reason { $cameras }.
trouble-conflict =
    { $count ->
        [one] { $count } picture has
       *[other] { $count } pictures have
    } a duplicate number { $cameras }: a card was copied or restored. All are kept and shown.
trouble-damaged =
    { $count ->
        [one] { $count } picture does
       *[other] { $count } pictures do
    } not decode { $cameras }. The bytes are kept exactly as they came.
trouble-deferred =
    { $count ->
        [one] { $count } picture stays
       *[other] { $count } pictures stay
    } on the card because the cloud refuses { $count ->
        [one] it
       *[other] them
    } { $cameras }.
no-preview = No preview
duplicate-number = Duplicate number
damaged = Damaged
arrived-late = arrived late,{" "}
tile-stored = stored in the cloud
tile-held = waiting on cameras
tile-missing = missing
tile-storage = storage
tile-storage-free = storage, { $size } free
tile-free = free for pictures
tile-in-use = In use
no-picture-yet = No picture yet
last-report = Last report { $time }; newer pictures are not known yet.
duplicate-numbers =
    { $count ->
        [one] { $count } duplicate number
       *[other] { $count } duplicate numbers
    }
damaged-count = { $count } damaged
no-camera = No cameras yet. Start one, and it appears here.
first-steps = First steps
first-simulated = A camera without a Raspberry Pi
first-simulated-how = It takes photographs from a folder. Press Enter to take one:
first-raspberry-pi = A Raspberry Pi
first-address = Put this address into its { $file }: { $address }.
first-loopback = This cloud listens on this machine only, so the camera must run here too, or connect through a tunnel.
first-upload = A single picture
