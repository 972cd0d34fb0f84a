//! Commands with the node's position asked around them, in the same write.

use redis::{Cmd, Pipeline, RedisResult, Value};

use crate::wire::{
    connection::WireConnection,
    position_question::{Placed, Want},
};

impl WireConnection {
    /// As [`command`](Self::command), with the positions that were wanted, where they may be asked for.
    pub(crate) async fn command_placed(
        &mut self,
        cmd: &Cmd,
        _want: Want,
    ) -> RedisResult<Placed<Value>> {
        self.command(cmd).await.map(Placed::nowhere)
    }

    /// As [`pipeline`](Self::pipeline), with the positions that were wanted, where they may be asked for.
    pub(crate) async fn pipeline_placed(
        &mut self,
        pipeline: &Pipeline,
        _want: Want,
    ) -> RedisResult<Placed<Vec<Value>>> {
        self.pipeline(pipeline).await.map(Placed::nowhere)
    }
}
