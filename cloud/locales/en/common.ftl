skip = Skip to content
nav-main = Main
language = Language
account = Account
camera = Camera
cameras-title = Cameras
pictures-title = Pictures
all-cameras = All cameras
pending-thumbnails =
    { $count ->
        [one] { $count } thumbnail in progress
       *[other] { $count } thumbnails in progress
    }
picture-count =
    { $count ->
        [one] { $count } picture
       *[other] { $count } pictures
    }
save = Save
show = Show
name = Name
when = When
reason = Reason
none = none
yes = yes
no = no
now = now
at-most = up to { $count }
at-least = at least { $count }
size-of = { $part } of { $total }
log-in = Log in
log-out = Log out
uploads-paused = Uploads paused
hold-cameras = Cameras keep all pictures on their cards until uploads resume.
warning-allowed = The configuration allows this, but a power cut can lose stored pictures.
store = Store { $id }
free = { $size } free
quarantine-count = Quarantine: { $count }
http-status = Status { $status }
status-400 = Bad request
status-401 = Login required
status-403 = Access denied
status-404 = Not found
status-409 = Conflict
status-429 = Too many requests
status-503 = Temporarily unavailable
status-507 = Storage full
status-other = Something went wrong
