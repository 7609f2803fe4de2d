"""What clients may send the volume service."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from targets.reference.schema import Boolean, Metadata, Name, Positive, Schema, Text255

Id = Annotated[str, Field(min_length=1, max_length=255)]


class NewVolume(Schema):
    """A volume as it is made."""

    size: Positive
    name: Text255 | None = None
    description: Text255 | None = None
    metadata: Metadata | None = None
    multiattach: Boolean | None = False
    volume_type: Text255 | None = None
    availability_zone: Text255 | None = None
    imageRef: Text255 | None = None
    image_id: Text255 | None = None
    snapshot_id: Text255 | None = None
    source_volid: Text255 | None = None
    backup_id: Text255 | None = None
    consistencygroup_id: Text255 | None = None
    group_id: Text255 | None = None
    display_name: Text255 | None = None
    display_description: Text255 | None = None


class VolumeChange(Schema):
    """What can be changed of a volume."""

    name: Text255 | None = None
    description: Text255 | None = None
    display_name: Text255 | None = None
    display_description: Text255 | None = None
    metadata: Metadata | None = None


class Extension(Schema):
    """How large a volume is to be."""

    new_size: Positive


class Bootable(Schema):
    """Whether a server can boot from a volume."""

    bootable: Boolean


class Status(Schema):
    """What an administrator says that a volume is."""

    status: Literal["available", "error", "creating", "deleting", "in-use", "reserved", "attaching"]
    attach_status: Text255 | None = None
    migration_status: Text255 | None = None


class NewAttachment(Schema):
    """An attachment as it is made."""

    volume_uuid: Id
    instance_uuid: Id | None = None
    connector: dict[str, Any] | None = None
    mode: Literal["rw", "ro"] | None = None


class AttachmentChange(Schema):
    """From where a volume will be used."""

    connector: Annotated[dict[str, Any], Field(min_length=1)]


class NewType(Schema):
    """A volume type as it is made."""

    name: Name
    description: Text255 | None = None
    extra_specs: Metadata | None = None
    is_public: Boolean = Field(True, alias="os-volume-type-access:is_public")


class TypeChange(Schema):
    """What can be changed of a volume type."""

    name: Name | None = None
    description: Text255 | None = None
    is_public: Boolean | None = None


class Specs(Schema):
    """Metadata, or extra specs, by key."""

    said: Metadata
