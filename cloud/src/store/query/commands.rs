//! Tables `command`, `command_stage` and `command_result`: what was asked of cameras, and how far each got.

use keepsake_protocol::command::{CommandKind, CommandReply, CommandStage};
use keepsake_protocol::{CaptureId, DeviceId};
use serde_json::{Map, Value};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use crate::store::bind::{from_bigint, id, sequence};
use crate::store::error::{Result, StoreError};
use crate::store::open::Store;
use crate::store::statement::sql;

/// A command and its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub id: String,
    pub device: DeviceId,
    pub command: CommandKind,
    /// Microseconds UTC by the cloud's clock.
    pub created_us: i64,
    pub expires_us: i64,
    /// When the broker was handed it; absent while the camera was away.
    pub sent_us: Option<i64>,
    pub stages: Vec<StageReached>,
    /// The capture that came of it.
    pub capture: Option<CaptureId>,
    /// The data in the camera's reply.
    pub result: Option<Map<String, Value>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageReached {
    pub stage: CommandStage,
    /// When the cloud heard of it, microseconds UTC.
    pub at_us: i64,
    /// Since the command reached the camera, microseconds.
    pub after_us: Option<u64>,
    pub text: Option<String>,
}

/// Limit of the characters of a camera's reply that are kept.
const TEXT_MAX: usize = 500;

/// A statement that reads whole rows.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, command, created_us, expires_us, sent_us, spool, sequence FROM command ",
            $rest
        )
    };
}

impl Store {
    /// Notes a command before it is sent.
    pub async fn insert_command(&self, command: &Command) -> Result<()> {
        self.with_timeout(async {
            let mut tx = self.begin("begin a command").await?;
            sql("INSERT INTO command (id, device, command, created_us, expires_us) VALUES (?, ?, ?, ?, ?)")
                .bind((
                    &command.id,
                    &command.device,
                    command.command.as_str(),
                    command.created_us,
                    command.expires_us,
                ))
                .execute(&mut *tx, "note a command")
                .await?;
            let oldest: Option<i64> =
                sql("SELECT created_us FROM command WHERE device = ? ORDER BY created_us DESC LIMIT 1 OFFSET ?")
                    .bind((&command.device, self.limits.commands_max))
                    .optional_scalar(&mut *tx, "count commands")
                    .await?;
            if let Some(oldest) = oldest {
                for statement in [
                    "DELETE FROM command_result WHERE command IN \
                     (SELECT id FROM command WHERE device = ? AND created_us <= ?)",
                    "DELETE FROM command_stage WHERE command IN \
                     (SELECT id FROM command WHERE device = ? AND created_us <= ?)",
                    "DELETE FROM command WHERE device = ? AND created_us <= ?",
                ] {
                    sql(statement)
                        .bind((&command.device, oldest))
                        .execute(&mut *tx, "drop old commands")
                        .await?;
                }
            }
            tx.commit("commit a command").await
        })
        .await
    }

    /// Notes that a command was handed to the broker.
    pub async fn mark_command_sent(&self, id: &str, now_us: i64) -> Result<()> {
        sql("UPDATE command SET sent_us = ? WHERE id = ? AND sent_us IS NULL")
            .bind((now_us, id))
            .commit(self, "mark a command as sent")
            .await?;
        Ok(())
    }

    /// The commands of a camera that it has not answered and that have not expired, the oldest first; at most 50. That
    /// the broker was handed one proves nothing: the camera may have been gone by then.
    pub async fn waiting_commands(&self, device: &DeviceId, now_us: i64) -> Result<Vec<Command>> {
        let rows = sql(select!(
            "WHERE device = ? AND expires_us > ? \
             AND NOT EXISTS (SELECT 1 FROM command_stage WHERE command_stage.command = command.id) \
             ORDER BY created_us, id LIMIT 50"
        ))
        .bind((device, now_us))
        .rows(self, "list the commands that wait")
        .await?;
        rows.iter().map(|row| read(row, device)).collect()
    }

    /// The last commands of a camera, the newest first.
    pub async fn commands(&self, device: &DeviceId, limit: u32) -> Result<Vec<Command>> {
        self.with_timeout(async {
            let mut connection = self.reader().await?;
            let rows = sql(select!("WHERE device = ? ORDER BY created_us DESC, id DESC LIMIT ?"))
                .bind((device, limit))
                .fetch_all(&mut *connection, "list commands")
                .await?;
            let mut commands = Vec::with_capacity(rows.len());
            for row in &rows {
                let mut command = read(row, device)?;
                command.stages = stages(&mut connection, &command.id).await?;
                if command.command == CommandKind::Diagnostics {
                    command.result = result(&mut connection, &command.id).await?;
                }
                commands.push(command);
            }
            connection.release();
            Ok(commands)
        })
        .await
    }
}

/// A command without its stages.
fn read(row: &AnyRow, device: &DeviceId) -> Result<Command> {
    let kind = serde_json::Value::from(row.get::<String, _>(1));
    Ok(Command {
        id: row.get(0),
        device: device.clone(),
        command: serde_json::from_value(kind).map_err(|_| StoreError::Corrupt("an odd command".to_owned()))?,
        created_us: row.get(2),
        expires_us: row.get(3),
        sent_us: row.get(4),
        stages: Vec::new(),
        capture: match (row.get::<Option<&[u8]>, _>(5), row.get(6)) {
            (Some(spool), Some(number)) => {
                Some(CaptureId { spool: id(spool, "a spool id")?, sequence: sequence(number)? })
            }
            _ => None,
        },
        result: None,
    })
}

/// Notes a stage of a command of this camera; one it was never given, or a stage said before, changes nothing.
pub(crate) async fn record_stage(
    tx: &mut AnyConnection,
    device: &DeviceId,
    reply: &CommandReply,
    now_us: i64,
) -> Result<()> {
    let owner: Option<String> = sql("SELECT device FROM command WHERE id = ?")
        .bind(&reply.id)
        .optional_scalar(&mut *tx, "look for a command")
        .await?;
    if owner.as_deref() != Some(device.as_str()) {
        return Ok(());
    }
    if let Some(capture) = reply.capture {
        sql("UPDATE command SET spool = ?, sequence = ? WHERE id = ?")
            .bind((capture.spool, capture.sequence, &reply.id))
            .execute(&mut *tx, "note the capture of a command")
            .await?;
    }
    let known: Option<i64> = sql("SELECT at_us FROM command_stage WHERE command = ? AND stage = ?")
        .bind((&reply.id, reply.stage.as_str()))
        .optional_scalar(&mut *tx, "look for a stage")
        .await?;
    if known.is_none() {
        let text = reply.text.as_deref();
        sql("INSERT INTO command_stage (command, stage, at_us, after_us, text) VALUES (?, ?, ?, ?, ?)")
            .bind((
                &reply.id,
                reply.stage.as_str(),
                now_us,
                reply.after_us,
                text.map(|text| &text[..text.floor_char_boundary(TEXT_MAX)]),
            ))
            .execute(&mut *tx, "note a stage")
            .await?;
        if let Some(result) = &reply.result {
            keep_result(tx, &reply.id, result).await?;
        }
    }
    Ok(())
}

/// The first one counts, and the length of what a camera says was looked at before.
async fn keep_result(tx: &mut AnyConnection, command: &str, result: &Map<String, Value>) -> Result<()> {
    let known: Option<String> = sql("SELECT command FROM command_result WHERE command = ?")
        .bind(command)
        .optional_scalar(&mut *tx, "look for the result of a command")
        .await?;
    if known.is_none() {
        sql("INSERT INTO command_result (command, result) VALUES (?, ?)")
            .bind((command, Value::Object(result.clone()).to_string()))
            .execute(tx, "keep the result of a command")
            .await?;
    }
    Ok(())
}

async fn result(connection: &mut AnyConnection, command: &str) -> Result<Option<Map<String, Value>>> {
    let json: Option<String> = sql("SELECT result FROM command_result WHERE command = ?")
        .bind(command)
        .optional_scalar(connection, "read the result of a command")
        .await?;
    json.map(|json| {
        serde_json::from_str(&json).map_err(|error| StoreError::Corrupt(format!("the result of a command: {error}")))
    })
    .transpose()
}

async fn stages(connection: &mut AnyConnection, command: &str) -> Result<Vec<StageReached>> {
    let rows = sql("SELECT stage, at_us, after_us, text FROM command_stage WHERE command = ? ORDER BY at_us, after_us")
        .bind(command)
        .fetch_all(connection, "read the stages of a command")
        .await?;
    let mut stages: Vec<StageReached> = rows
        .iter()
        .filter_map(|row| {
            Some(StageReached {
                stage: serde_json::from_value(Value::String(row.get(0))).ok()?,
                at_us: row.get(1),
                after_us: row.get::<Option<i64>, _>(2).map(from_bigint),
                text: row.get(3),
            })
        })
        .collect();
    stages.sort_by_key(|reached| reached.stage);
    Ok(stages)
}
