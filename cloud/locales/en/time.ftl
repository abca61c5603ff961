duration-under-ms = under 1 ms
duration-ms = { $ms } ms
duration-s = { $s } s
duration-min = { $min } min
duration-h = { $h } h
duration-h-min = { $h } h { $min } min
duration-days = { $days } days
date-full =
    { $weekday ->
        [1] Mon
        [2] Tue
        [3] Wed
        [4] Thu
        [5] Fri
        [6] Sat
       *[7] Sun
    } %-d %b %Y
date-day =
    { $weekday ->
        [1] Monday
        [2] Tuesday
        [3] Wednesday
        [4] Thursday
        [5] Friday
        [6] Saturday
       *[7] Sunday
    } %-d %B %Y
date-near = %-d %b %H:%M
date-near-year = %-d %b %Y
time-unknown = an unknown time
time-before = before { $time }
time-about = about { $time }
time-between = between { $from } and { $to }
time-sure = Sure
time-corrected = Corrected
time-guessed = Guessed
time-upload = It came in as an upload at { $time }. When it was taken is not known here.
time-synchronised = The camera's clock followed a source of time at the press.
time-corrected-boot = The camera was switched on { $duration } before the press, and its clock was not set yet.
time-corrected-by = It was set while the camera stayed on, and the time of this picture was moved by { $shift }.
time-corrected-to = It was set while the camera stayed on, and the time of this picture was moved to what it was.
time-contradicted = The camera's clock contradicts itself, or what else is known: it was set wrong at some time.
time-contradicted-press = Whichever was right, the press was { $time }.
time-never-set = Nothing had set the camera's clock since it was switched on, { $duration } before the press.
time-guessed-press = By what is known from before and after, the press was { $time }.
time-showed = It showed { $time }.
