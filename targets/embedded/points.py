"""The points of the reference control plane: the words of plans, and the functions they stand for.

One table for every way to run it; another control plane has the same words for its own functions.
"""

from __future__ import annotations

from chaos.point import Point

_NOVA = "api|scheduler|conductor|compute-*"
"""The services that share the compute service's records and what it asks of others."""


def _nova(function: str, services: str, summary: str) -> Point:
    where = _NOVA if services == "*" else services
    return Point(f"targets.reference.nova.{function}", where, summary)


def _compute(function: str, summary: str) -> Point:
    return _nova(f"compute.{function}", "compute-*", summary)


def _hypervisor(function: str, summary: str) -> Point:
    return _nova(f"hypervisor:Guests.{function}", "hypervisor-*", summary)


def _image(function: str, summary: str) -> Point:
    return Point(f"targets.reference.image:Images.{function}", "image", summary)


def _placement(function: str, summary: str) -> Point:
    return Point(f"targets.reference.placement.store:Placement.{function}", "placement", summary)


def _network(function: str, summary: str) -> Point:
    return Point(f"targets.reference.network.store:Store.{function}", "network", summary)


def _volume(function: str, summary: str) -> Point:
    return Point(f"targets.reference.volume.{function}", "volume", summary)


POINTS = {
    # Records of the compute service.
    "build_request.get": _nova(
        "build_request:BuildRequest.get", "*", "look for a server that is in no cell yet"
    ),
    "build_request.create": _nova(
        "build_request:BuildRequest.create", "api", "accept a server: from now on it exists"
    ),
    "build_request.destroy": _nova(
        "build_request:BuildRequest.destroy", "*", "decide between building and deleting"
    ),
    "instance_mapping.get": _nova(
        "instance_mapping:InstanceMapping.get", "*", "look up a server's cell"
    ),
    "instance_mapping.set_cell": _nova(
        "instance_mapping:InstanceMapping.set_cell", "*", "decide in which cell a server is"
    ),
    "instance_mapping.queue_for_delete": _nova(
        "instance_mapping:InstanceMapping.queue_for_delete", "*", "accept a delete"
    ),
    "instance_mapping.destroy": _nova(
        "instance_mapping:InstanceMapping.destroy", "*", "forget a server that got into no cell"
    ),
    "instance.get": _nova("instance:Instance.get", "*", "read a server's record"),
    "instance.create": _nova("instance:Instance.create", "*", "write a server's record"),
    "instance.claim": _nova("instance:Instance.claim", "compute-*", "take a server for a host"),
    "instance.save": _nova("instance:Instance.save", "*", "change a server's record"),
    "instance.destroy": _nova("instance:Instance.destroy", "*", "delete a server's record"),
    "fault.record": _nova("action:record_fault", "*", "tell a server's user what went wrong"),
    "bdm.create": _nova("block_device:BlockDevice.create", "*", "write a block device mapping"),
    "bdm.save": _nova("block_device:BlockDevice.save", "*", "change a block device mapping"),
    "bdm.destroy": _nova("block_device:BlockDevice.destroy", "*", "remove a block device mapping"),
    # What the compute service asks of the others.
    "attachment.create": _nova("volumes:create_attachment", "*", "reserve a volume"),
    "attachment.connect": _nova("volumes:connect_attachment", "*", "connect a volume to a host"),
    "attachment.complete": _nova("volumes:complete_attachment", "*", "turn a volume in-use"),
    "attachment.delete": _nova(
        "volumes:delete_attachment", "*", "give a volume back: it turns available"
    ),
    "volume.delete_with_server": _nova(
        "volumes:delete_volume", "*", "delete a volume at its server's end"
    ),
    "port.create": _nova("ports:create", "*", "make a port for a server"),
    "port.bind": _nova("ports:bind", "*", "give a user's port to a server"),
    "port.unbind_host": _nova("ports:unbind_host", "*", "leave a port to a server on no host"),
    "port.delete": _nova("ports:delete", "*", "delete a port"),
    "allocation.claim": _nova("allocations:claim", "*", "claim a host's resources"),
    "allocation.delete": _nova("allocations:release", "*", "give a host's resources back"),
    "image.create": _nova("images:create_snapshot", "*", "make the record of a snapshot"),
    "image.upload": _nova("images:upload", "*", "give a snapshot its data"),
    "image.delete": _nova("images:delete", "*", "delete an image"),
    "quota.check": _nova(
        "quotas:check_instances", "api|conductor", "look whether a project may have more servers"
    ),
    # Work that one service hands to the next.
    "bus.take": Point(
        "targets.reference.bus.client:Bus._take", _NOVA, "begin to work on a message"
    ),
    "conductor.build": _nova(
        "conductor:Conductor.build_instance", "conductor", "carry out a build request"
    ),
    "scheduler.select": _nova(
        "scheduler:Scheduler.select_hosts", "scheduler", "name the hosts that have room"
    ),
    "compute.build": _compute("building:Builder.build", "build a server"),
    "compute.terminate": _compute("building:Builder.terminate", "remove a server"),
    "compute.reboot": _compute("power:PowerSwitch.reboot", "reboot a server"),
    "compute.start": _compute("power:PowerSwitch.start", "start a stopped server"),
    "compute.stop": _compute("power:PowerSwitch.stop", "stop a server"),
    "compute.pause": _compute("power:PowerSwitch.pause", "pause a server"),
    "compute.unpause": _compute("power:PowerSwitch.unpause", "let a paused server go on"),
    "compute.snapshot": _compute("snapshots:Photographer.snapshot", "make an image of a server"),
    "compute.rebuild": _compute("rebuilding:Rebuilder.rebuild", "make a guest anew"),
    "compute.shelve": _compute("shelving:Shelver.shelve", "keep a server as an image"),
    "compute.shelve_offload": _compute(
        "shelving:Shelver.shelve_offload", "remove a shelved server from its host"
    ),
    "compute.unshelve": _compute("shelving:Shelver.unshelve", "bring a shelved server again"),
    "conductor.unshelve": _nova(
        "unshelve_task:run", "conductor", "choose a host for a shelved server"
    ),
    "compute.soft_delete": _compute("soft_delete:SoftDeleter.soft_delete", "keep a deleted server"),
    "compute.restore": _compute("soft_delete:SoftDeleter.restore", "have a server back"),
    "compute.attach": _compute("devices:Devices.attach_volume", "connect a volume"),
    "compute.detach": _compute("devices:Devices.detach_volume", "disconnect a volume"),
    "compute.init_host": _compute(
        "recoverer:Recoverer.init_host", "look at all servers at start-up"
    ),
    "compute.recover_instance": _compute(
        "recoverer:Recoverer.recover", "bring a server out of the state that a crash left"
    ),
    "compute.remove_deleted_guests": _compute(
        "recoverer:Recoverer.remove_deleted_guests", "remove guests that were deleted without it"
    ),
    "service.is_up": _nova(
        "services:is_host_up", "api|conductor", "look whether a host's compute is up"
    ),
    # Moves of servers between hosts and flavors.
    "migration.save": _nova("migration:Migration.save", "*", "change a migration's record"),
    "allocation.claim_first": _nova(
        "allocations:claim_first", "*", "claim another host's resources for a server"
    ),
    "allocation.hand_over": _nova(
        "allocations:hand_over", "*", "have a migration hold a server's resources"
    ),
    "allocation.give_back": _nova(
        "allocations:give_back", "*", "have a server hold its migration's resources again"
    ),
    "conductor.migrate": _nova(
        "conductor:Conductor.migrate_server", "conductor", "find a host for a move"
    ),
    "compute.prep_resize": _compute("resizing:_prep", "claim the new flavor at the destination"),
    "compute.resize_instance": _compute("resizing:_migrate", "hand a server to its destination"),
    "compute.finish_resize": _compute("resizing:_finish", "make the guest at the destination"),
    "compute.confirm_resize": _compute("resizing:_confirm", "forget the guest at the source"),
    "compute.revert_resize": _compute("resizing:_revert", "hand a server back to its source"),
    "compute.finish_revert_resize": _compute(
        "resizing:_finish_revert", "make the guest run again at the source"
    ),
    "compute.end_move": _compute("resizing:_end", "forget a server that stays on another host"),
    "tracker.instance_claim": _compute("tracker:ResourceTracker.claim", "take a server for a host"),
    "tracker.resize_claim": _compute(
        "tracker:ResourceTracker.resize_claim", "claim the new flavor"
    ),
    "tracker.drop_move_claim": _compute(
        "tracker:ResourceTracker.drop_move_claim_at_source",
        "confirm a move, and give the old flavor back",
    ),
    "tracker.drop_move_claim_at_dest": _compute(
        "tracker:ResourceTracker.drop_move_claim_at_dest",
        "revert a move, and give the new flavor back",
    ),
    "tracker.end_move": _compute(
        "tracker:ResourceTracker.end_move", "end a move, and give its flavor back"
    ),
    "tracker.update_available_resource": _compute(
        "tracker:ResourceTracker.update_available_resource", "count anew what a host has in use"
    ),
    # Evacuations.
    "conductor.evacuate": _nova(
        "conductor:Conductor.evacuate_server", "conductor", "find a host for an evacuation"
    ),
    "allocation.claim_beside": _nova(
        "allocations:claim_beside", "*", "claim another host beside the one that a server has"
    ),
    "allocation.keep_only": _nova(
        "allocations:keep_only", "*", "give back what a server has of a host that refused it"
    ),
    "allocation.drop": _nova(
        "allocations:drop", "compute-*", "give back what a server had of the host that it has left"
    ),
    "compute.rebuild_claim": _compute(
        "evacuating:_rebuild_claim", "take a server whose own host is down"
    ),
    "compute.rebuild_evacuated": _compute("evacuating:_rebuild", "make an evacuated server anew"),
    "compute.fail_evacuation": _compute("evacuating:_fail", "give an evacuation up"),
    "compute.fence_evacuated": _compute(
        "evacuating:_fence", "pull the plug of a guest that is made elsewhere"
    ),
    "compute.destroy_evacuated": _compute(
        "evacuating:_forget", "forget a server that was evacuated"
    ),
    "tracker.rebuild_claim": _compute(
        "tracker:ResourceTracker.rebuild_claim", "claim what an evacuated server will use"
    ),
    "tracker.finish_evacuation": _compute(
        "tracker:ResourceTracker.finish_evacuation", "have an evacuated server, and end the move"
    ),
    "tracker.load_instances": _compute(
        "tracker:ResourceTracker.load_instances", "read what a host's instances use"
    ),
    "tracker.load_migrations": _compute(
        "tracker:ResourceTracker.load_migrations", "read what a host's moves use"
    ),
    # Live migrations.
    "conductor.live_migrate": _nova(
        "conductor:Conductor.live_migrate_server", "conductor", "find a host for a live migration"
    ),
    "compute.live_migration_claim": _compute(
        "live_migrating:_claim", "take a server that is to come as it runs"
    ),
    "compute.pre_live_migration": _compute(
        "live_migrating:_pre_live_migration", "make room for a guest at the destination"
    ),
    "compute.live_migration": _compute(
        "live_migrating:_migrate", "have a guest handed over, and give its record away"
    ),
    "compute.post_live_migration": _compute(
        "live_migrating:_post_live_migration", "have a server at the destination"
    ),
    "compute.rollback_live_migration_at_dest": _compute(
        "live_migrating:_rollback_at_dest", "forget a guest that did not come"
    ),
    "compute.rollback_live_migration_at_source": _compute(
        "live_migrating:_rollback_at_source", "have everything as before at the source"
    ),
    "tracker.live_migration_claim": _compute(
        "tracker:ResourceTracker.live_migration_claim", "claim what a server will use that comes"
    ),
    "tracker.drop_live_migration": _compute(
        "tracker:ResourceTracker.drop_live_migration", "give a server away, and what it had"
    ),
    "tracker.drop_move_claim_at_rollback": _compute(
        "tracker:ResourceTracker.drop_move_claim_at_rollback",
        "end a live migration that failed, and give back its claim",
    ),
    "hypervisor.live_migrate": _compute(
        "driver:Driver.live_migrate", "have the hypervisor hand a guest over"
    ),
    # Moves between cells.
    "conductor.cross_cell": _nova(
        "cross_cell:run", "conductor", "do the next thing for a move between cells"
    ),
    "conductor.set_up_target_cell": _nova(
        "cross_cell:set_up_target_cell", "conductor", "write an instance into the other cell"
    ),
    "conductor.reject_alternate": _nova(
        "cross_cell:refuse", "conductor", "give up a host in the other cell"
    ),
    "conductor.update_instance_mapping": _nova(
        "cross_cell:update_instance_mapping", "conductor", "let the other cell have the say"
    ),
    "conductor.show_at_dest": _nova(
        "cross_cell:show_at_dest", "conductor", "show an instance in the other cell"
    ),
    "conductor.finish_confirm": _nova(
        "cross_cell:finish_confirm", "conductor", "end a move that was confirmed"
    ),
    "cell_copies.write": _nova("cell_copies:write", "conductor", "write a copy of an instance"),
    "cell_copies.drop_detached": _nova(
        "cell_copies:drop_detached", "conductor", "forget what a copy has too much"
    ),
    "compute.prep_snapshot_based_resize_at_dest": _compute(
        "snapshot_moves:prep_at_dest", "claim an instance of another cell"
    ),
    "compute.prep_snapshot_based_resize_at_source": _compute(
        "snapshot_moves:prep_at_source", "make an image of a guest, and destroy it"
    ),
    "compute.finish_snapshot_based_resize_at_dest": _compute(
        "snapshot_moves:finish_at_dest", "make the guest of that image"
    ),
    "compute.confirm_snapshot_based_resize_at_source": _compute(
        "snapshot_moves:confirm_at_source", "forget an instance that stays in the other cell"
    ),
    "compute.revert_snapshot_based_resize_at_dest": _compute(
        "snapshot_moves:revert_at_dest", "forget an instance that goes back to the other cell"
    ),
    "compute.finish_revert_snapshot_based_resize_at_source": _compute(
        "snapshot_moves:finish_revert_at_source", "make a guest again at the source"
    ),
    "compute.rollback_at_source": _compute(
        "snapshot_moves:rollback_at_source", "leave a server in ERROR that could not be moved"
    ),
    "compute.end_copy": _compute("snapshot_moves:end_copy", "forget the copy of an instance"),
    "tracker.cross_cell_claim": _compute(
        "tracker:ResourceTracker.cross_cell_claim", "claim an instance of another cell"
    ),
    "tracker.drop_copy": _compute(
        "tracker:ResourceTracker.drop_copy", "remove the copy of an instance, and its claim"
    ),
    # What a compute does to its host's hypervisor.
    "hypervisor.define": _compute("driver:Driver.define", "define a guest"),
    "hypervisor.start": _compute("driver:Driver.start", "start a guest"),
    "hypervisor.shutdown": _compute("driver:Driver.shutdown", "ask a guest to shut down"),
    "hypervisor.power_off": _compute("driver:Driver.power_off", "pull a guest's plug"),
    "hypervisor.destroy": _compute("driver:Driver.destroy", "stop and forget a guest"),
    "hypervisor.attach_disk": _compute("driver:Driver.attach_disk", "connect a disk to a guest"),
    "hypervisor.detach_disk": _compute("driver:Driver.detach_disk", "take a disk from a guest"),
    "hypervisor.disconnect_volume": _compute(
        "driver:Driver.disconnect_volume", "disconnect a host from a volume"
    ),
    "volume.is_used_on": _nova(
        "volumes:is_used_on", "compute-*", "ask whether another guest of a host has a volume"
    ),
    "hypervisor.pause": _compute("driver:Driver.pause", "stop a guest's processors"),
    "hypervisor.unpause": _compute("driver:Driver.unpause", "let a paused guest go on"),
    "hypervisor.reboot": _compute("driver:Driver.reboot", "shut a guest down and start it again"),
    "hypervisor.snapshot": _compute("driver:Driver.snapshot", "read a guest's root disk"),
    "hypervisor.spawn": _compute("driver:Driver.spawn", "define a guest, connect disks, start it"),
    # What a compute does again and again by itself.
    "periodic.sync_power_states": _compute(
        "power:sync_power_states", "compare what the guests do with the records"
    ),
    "periodic.record_power_state": _compute(
        "power:record_power_state", "record what a guest does by itself"
    ),
    "periodic.stop_after_guest": _compute(
        "power:stop_after_its_guest", "stop a server whose guest died"
    ),
    "periodic.reclaim_queued_deletes": _compute(
        "soft_delete:reclaim_queued_deletes", "delete for good what was deleted softly"
    ),
    "periodic.reclaim": _compute("soft_delete:reclaim", "delete one of them for good"),
    "periodic.cleanup_running_deleted": _compute(
        "soft_delete:cleanup_running_deleted_instances", "remove guests of deleted servers"
    ),
    # The hypervisor's own steps.
    "guest.define": _hypervisor("define", "make a guest known"),
    "guest.undefine": _hypervisor("undefine", "stop and forget a guest"),
    "guest.start": _hypervisor("start", "start a guest"),
    "guest.shutdown": _hypervisor("shutdown", "press a guest's power button"),
    "guest.power_off": _hypervisor("power_off", "pull a guest's plug"),
    "guest.pause": _hypervisor("pause", "stop a guest's processors"),
    "guest.unpause": _hypervisor("unpause", "let a paused guest go on"),
    "guest.migrate": _hypervisor("migrate", "hand a guest over to another host"),
    "guest.receive": _hypervisor("receive", "have a guest go on that another host hands over"),
    "guest.connect": _hypervisor("connect", "connect a disk"),
    "guest.disconnect": _hypervisor("disconnect", "take a disk away"),
    # The image service's own steps.
    "glance.create": _image("create", "write an image's record"),
    "glance.upload": _image("upload", "store an image's data"),
    "glance.delete": _image("delete", "remove an image"),
    # The volume service's own steps.
    "volume.create": _volume("store:Volumes.create", "write a volume's record"),
    "volume.delete": _volume("store:Volumes.delete", "a delete arrives at the volume service"),
    "volume.erase": _volume("store:Volumes.erase", "remove a volume's record"),
    "volume.attach": _volume("store:Volumes.attach", "write an attachment: it reserves"),
    "volume.connect": _volume("store:Volumes.connect", "say from where a volume will be used"),
    "volume.complete": _volume("store:Volumes.complete", "say that a volume is in use"),
    "volume.detach": _volume("store:Volumes.detach", "remove an attachment"),
    # The placement and the network service's own steps.
    "placement.claim": _placement("claim", "give consumers what they claim"),
    "placement.release": _placement("release", "take everything from a consumer"),
    "placement.candidates": _placement("candidates", "look which hosts have room"),
    "network.create_port": _network("create_port", "write a port"),
    "network.update_port": _network("update_port", "bind a port, or take it away"),
    "network.delete_port": _network("delete_port", "remove a port"),
}
