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
summary-deleted = Every picture is in the cloud, safe on a card, or deleted by a user.
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
        [one] { $count } picture is
       *[other] { $count } pictures are
    } waiting on cameras until the cloud accepts uploads again.
trouble-failed =
    { $count ->
        [one] { $count } press produced
       *[other] { $count } presses produced
    } no picture { $cameras }. See the camera's page for the reason.
trouble-conflict =
    { $count ->
        [one] { $count } picture has
       *[other] { $count } pictures have
    } a duplicate number { $cameras }: a card was copied or restored. All are kept and shown.
trouble-damaged =
    { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } damaged and cannot be displayed { $cameras }. The original bytes are kept.
trouble-deferred =
    { $count ->
        [one] { $count } picture stays
       *[other] { $count } pictures stay
    } on the card because the cloud rejected { $count ->
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
last-report = Last report { $time }. Newer pictures are not known yet.
duplicate-numbers =
    { $count ->
        [one] { $count } duplicate number
       *[other] { $count } duplicate numbers
    }
damaged-count = { $count } damaged
no-camera = No cameras yet. A camera appears here when it first connects.
first-steps = First steps
first-simulated = A simulated camera
first-simulated-how = It needs no Raspberry Pi. Press Enter to take a picture:
first-raspberry-pi = A Raspberry Pi
first-address = Set this address in its { $file }: { $address }.
first-loopback = Only this computer can reach this cloud. Run the camera here too, or connect it through a tunnel.
first-upload = A single upload
