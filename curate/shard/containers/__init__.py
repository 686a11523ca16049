"""ContainerShards in the containers of trainers' data loaders: one task a shard, into a folder on a disk or an object store."""
