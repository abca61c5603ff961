latest-pictures = Latest pictures
all-pictures-of = All pictures of { $camera }
latest-picture = The latest picture
no-picture-yet-press = No picture yet. Press its button, or take a picture from here.
picture-requested = Picture requested { $age } ago
presses-so-far =
    { $count ->
        [one] { $count } press
       *[other] { $count } presses
    } so far
this-took = this one took { $duration }
take-picture = Take picture
blink-led = Blink LED
restart = Restart
restart-software = Restart camera software
run-diagnostics = Run diagnostics
commands-offline = Offline. Commands are available again once it reconnects.
commands-upload-only = This camera only uploads pictures. It accepts no commands.
service = Service
restart-hint = Restarting takes a few seconds. Pictures on the card are kept.
diagnostics-from = Diagnostics from { $time }
commands = Commands
expect-failed = The camera could not run the command.
expect-too-late = The command reached the camera too late and was not run.
expect-uploading = Saved on the card, uploading.
expect-saving = The camera is saving the picture.
expect-received = The camera received the command.
expect-expired = The camera did not answer in time. The command has expired.
expect-offline = The command is sent once the camera reconnects.
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
counters = Press accounting
coarse-why = The camera's inventory was too long for one message, so some pictures counted as held may be missing.
missing-why =
    { $count ->
        [one] { $count } picture is
       *[other] { $count } pictures are
    } missing: not in the cloud and not on the card. If you have an older card from this camera, insert it; its pictures upload automatically.
conflicts-why =
    { $count ->
        [one] { $count } picture has
       *[other] { $count } pictures have
    } a duplicate number, because a card was copied or restored. All of them are kept and shown.
damaged-pictures-why =
    { $count ->
        [one] { $count } picture does
       *[other] { $count } pictures do
    } not decode. The original bytes are kept.
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
led-offline = Not known while it is offline.
not-reported = Not reported
queue = Queue
picture-count =
    { $count ->
        [one] { $count } picture
       *[other] { $count } pictures
    }
fact-waiting = Waiting
fact-oldest = Oldest
before-clock-set = from before its clock was set
fact-speed = At this speed
speed-paused = Paused: the cloud is not accepting uploads
speed-done-in = done in about { $duration }
fact-retained = Still on card (already uploaded)
fact-rejected = Rejected by this cloud
fact-lost = Lost on card (total)
last-reported = Last reported
clock = Clock
clock-accurate = Accurate to ±{ $error }
clock-synchronised = Synchronised, last reported { $time }.
clock-not-set = Not set
clock-not-set-why = The clock has not been set since startup ({ $duration } before the last report). Pictures are still in order, by their number.
fault-unknown-title = Fault
fault-unknown-advice = This page does not know the number. The camera may be newer than this cloud.
fault-reported = Reported: { $text }
fault-blinks = LED: one long, { $number } short.
resolved-faults = Resolved faults
about-camera = The camera
fact-card-free = Card free
fact-temperature = Temperature
fact-version = Version
fact-spool = Spool
