-- leader_epoch: under which leader of the partition the records below next_offset were read. Not lower than the leader epoch
-- of any of them, -1 where it is not known. By it the next owner asks whether the log still has them.
-- leader_owner: a hash of the owner that saw to it. Where the fence has another owner by now, that one did not: versions
-- before this one move fences and know of no leaders.
alter table :"schema".fence
  add column leader_epoch int not null default -1,
  add column leader_owner int not null default 0;

insert into :"schema".schema_migration (version, name) values (8, 'leader_epoch');
