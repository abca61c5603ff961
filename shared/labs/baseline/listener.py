#!/usr/bin/env python3
"""The listener of a hands-on lab: every picture that comes is decoded, written to a file, inserted and committed.

    listener.py --broker-port 1883 --database-port 3306 --user lab --password lab --schema lab --count 100

One connection to the broker with QoS 1, one to the database, one row and one COMMIT per picture. It prints one JSON
line when it listens, and one when `--count` pictures are committed.
"""

import argparse
import base64
import datetime
import json
import os

import paho.mqtt.client as mqtt
import pymysql

TABLE = (
    "CREATE TABLE IF NOT EXISTS images (id INT AUTO_INCREMENT PRIMARY KEY, filename VARCHAR(255), "
    "image_data LONGBLOB, created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
)


def say(event, **more):
    print(json.dumps({"event": event, **more}), flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker-port", type=int, required=True)
    parser.add_argument("--database-port", type=int, required=True)
    parser.add_argument("--user", required=True)
    parser.add_argument("--password", required=True)
    parser.add_argument("--schema", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--folder", default="received")
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    database = pymysql.connect(
        host="127.0.0.1",
        port=options.database_port,
        user=options.user,
        password=options.password,
        database=options.schema,
        max_allowed_packet=64 << 20,
    )
    cursor = database.cursor()
    cursor.execute(TABLE)
    stored = 0

    def on_connect(client, userdata, flags, reason, properties):
        client.subscribe("camera/image", qos=1)

    def on_subscribe(client, userdata, message_id, reasons, properties):
        say("listening")

    def on_message(client, userdata, message):
        nonlocal stored
        image = base64.b64decode(message.payload)
        filename = f"image_{datetime.datetime.now():%Y%m%d_%H%M%S_%f}.jpg"
        with open(os.path.join(options.folder, filename), "wb") as file:
            file.write(image)
        cursor.execute("INSERT INTO images (filename, image_data) VALUES (%s, %s)", (filename, image))
        database.commit()
        stored += 1
        if stored == options.count:
            say("stored", count=stored)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.on_connect = on_connect
    client.on_subscribe = on_subscribe
    client.on_message = on_message
    client.connect("127.0.0.1", options.broker_port, 60)
    client.loop_forever()


if __name__ == "__main__":
    main()
