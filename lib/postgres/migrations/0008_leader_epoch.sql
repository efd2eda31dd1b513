-- leader_epoch: not lower than the leader epoch of any record that the ledger knows of by this fence; null where that is not
-- known. By it the next owner asks whether the log still has them.
-- leader_owner: a hash of the owner that saw to it. Where the fence has another one by now, that one did not: versions before
-- this one move fences and know of no leaders.
alter table :"schema".fence
  add column leader_epoch int,
  add column leader_owner int;

insert into :"schema".schema_migration (version, name) values (8, 'leader_epoch');
