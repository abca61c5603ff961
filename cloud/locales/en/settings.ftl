settings-title = Settings
settings-of = Settings of { $camera }
settings-schedule = Scheduled capture
settings-picture = Picture size
settings-camera = Camera
settings-light = LED
settings-spool = Card
settings-bandwidth = Bandwidth
settings-backoff = Retry
settings-connection-summary = Connection to this cloud
settings-connection-trial =
    The camera tries new connection settings first. If it cannot connect to this cloud within five minutes,
    it returns to the previous ones.
settings-connection = Connection
back-to-camera = Back to the camera
settings-empty = Leave empty to use the value in camera.toml.
change-settings = Change settings
view-settings = View settings
setting-rejected = Rejected: it { $reason }.
setting-rejected-name = { $name } { $reason }.
number-range = { $min } to { $max }
number-or-zero = 0 or { $min } to { $max }
value-now = currently { $value }
value-of-file = Value in camera.toml
unchanged = unchanged
state-none = Using camera.toml
state-waiting = Waiting for the camera
state-applied = Applied
state-partly = Partly applied
state-trial = Trying the connection
state-ahead = Different version on the camera
settings-none = No settings have been changed here. The camera uses its camera.toml.
settings-waiting = Version { $version }, changed { $time }, is waiting for the camera.
settings-camera-version = The camera has version { $version }.
settings-applied = Version { $version }, changed { $time }, is applied.
settings-partly =
    Version { $version } is applied except for { $count ->
        [one] { $count } setting
       *[other] { $count } settings
    } that the camera rejected.
settings-trial =
    Version { $version } is applied. On trial: { $names }.
    The camera returns to the previous values in { $duration } unless it connects.
settings-ahead =
    The camera has version { $version }, which this cloud does not know because it was restored from a backup.
    Saving creates a newer version.
