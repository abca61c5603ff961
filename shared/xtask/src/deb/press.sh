# Runs both packaged programs without systemd, each as its user: a press of the simulated camera is stored by the cloud.
# Prints the output of the camera.
wait_for() {
    for _ in $(seq 240); do
        grep -q "$1" "$2" && return
        sleep 0.5
    done
    cat "$2" >&2
    return 1
}

ip link set lo up
cd /var/lib/keepsake-cloud
setpriv --reuid=keepsake-cloud --regid=keepsake-cloud --init-groups \
    cloud --config /etc/keepsake/cloud.toml --data /var/lib/keepsake-cloud >/run/cloud 2>&1 &
cloud=$!
wait_for '"ready"' /run/cloud

cd /var/lib/keepsake
mkfifo /run/button
setpriv --reuid=keepsake --regid=keepsake --init-groups \
    appliance run --simulated --events --config /etc/keepsake/camera.toml </run/button >/run/camera 2>/run/camera.log &
camera=$!
exec 3>/run/button
wait_for '"event":"connected"' /run/camera
echo >&3
wait_for '"event":"stored"' /run/camera

kill "$camera"
wait "$camera"
kill "$cloud"
wait "$cloud"
cat /run/camera
