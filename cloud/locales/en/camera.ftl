latest-pictures = Latest pictures
all-pictures-of = All pictures of { $camera }
latest-picture = Latest picture
no-picture-yet-press = No picture yet. Press the camera's button, or take a picture here.
picture-requested = Picture requested { $age } ago
presses-so-far =
    { $count ->
        [one] { $count } press
       *[other] { $count } presses
    } so far
this-took = stored in { $duration }
take-picture = Take picture
blink-led = Blink LED
restart = Restart
restart-software = Restart camera software
run-diagnostics = Run diagnostics
commands-offline = The camera is offline. Commands are available again once it reconnects.
commands-upload-only = This camera only uploads pictures. It accepts no commands.
service = Maintenance
restart-hint = Restarting takes a few seconds. Pictures on the card are kept.
diagnostics-from = Diagnostics from { $time }
commands = Commands
expect-failed = The camera could not run the command.
expect-too-late = The command reached the camera too late and was not run.
expect-uploading = Saved on the card, uploading.
expect-saving = The camera is saving the picture.
expect-received = The camera received the command.
expect-expired = The camera did not answer in time. The command has expired.
expect-offline = The command will be sent when the camera reconnects.
expect-no-answer = No answer from the camera yet.
outcome-stored = stored after { $duration }
outcome-received = received by the camera
outcome-captured = captured
outcome-saved = safe on the card
outcome-done = done
outcome-done-in = done in { $duration }
outcome-failed = failed
outcome-expired = expired
outcome-not-answered = not answered
outcome-sent = sent
counters = Press counts
coarse-why = The camera's inventory was too long for one message, so some pictures counted as held may be missing.
missing-why =
    { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } missing: not in the cloud and not on the card.
    If you have an older card from this camera, insert it. Its pictures are uploaded automatically.
conflicts-why =
    { $count ->
        [one] { $count } picture has
       *[other] { $count } pictures have
    } a duplicate number, because a card was copied or restored. All of them are kept and shown.
damaged-pictures-why =
    { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } damaged and cannot be displayed. The original bytes are kept.
renumbered =
    This camera restarted its numbering { $count ->
        [one] { $count } time
       *[other] { $count } times
    }: a card was replaced, copied or restored. Pictures are numbered separately for each card.
presses-by-card = Presses by card
card = Card
column-pressed = Pressed
column-stored = Stored
column-deleted = Deleted
column-failed = No picture
column-held = Held
column-missing = Missing
without-picture = Presses without a picture
without-picture-because =
    { $count ->
        [one] { $count } press
       *[other] { $count } presses
    } without a picture: { $reason }
reported = reported { $time }
led-status = LED status
led-offline = Unknown while the camera is offline.
not-reported = Not reported
queue = Queue
fact-waiting = Waiting
fact-oldest = Oldest
before-clock-set = taken before the camera's clock was set
fact-speed = Upload
speed-paused = Paused: the cloud is not accepting uploads
speed-done-in = Finishes in about { $duration }
fact-retained = Still on the card (already uploaded)
fact-rejected = Rejected by this cloud
fact-lost = Lost on the card (total)
last-reported = As last reported by the camera
clock = Clock
clock-accurate = Accurate to ±{ $error }
clock-synchronised = Synchronised, last reported { $time }.
clock-not-set = Not set
clock-not-set-why =
    The clock has not been set since startup ({ $duration } before the last report).
    Pictures stay in order because they are numbered.
fault-unknown-title = Fault
fault-unknown-advice = This cloud does not know this fault. The camera's software may be newer than the cloud's.
fault-reported = Reported: { $text }
fault-blinks = LED: one long blink, { $number } short.
resolved-faults = Resolved faults
about-camera = About the camera
fact-card-free = Free space on the card
fact-temperature = Temperature
fact-version = Version
fact-spool = Spool
