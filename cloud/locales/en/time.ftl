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
time-synchronised = Synchronised
time-corrected = Corrected
time-estimated = Estimated
time-upload = Uploaded at { $time }. The capture time is not known.
time-synchronised-press = The camera's clock was synchronised at the time of the press.
time-corrected-boot = The press was { $duration } after the camera was switched on, before its clock was set.
time-corrected-by = The clock was set later during the same boot, so the capture time was corrected by { $shift }.
time-corrected-to = The clock was set later during the same boot, so the capture time was corrected.
time-contradicted = The camera's clock contradicts itself or other known times: it was set incorrectly at some point.
time-contradicted-press = In any case, the press was { $time }.
time-never-set = The camera's clock had not been set since startup, { $duration } before the press.
time-estimated-press = Judging from earlier and later events, the press was { $time }.
time-showed = The clock showed { $time }.
