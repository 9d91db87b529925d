"""The hash of what a post says, so that what a user approved can be told from what was edited since."""

from __future__ import annotations

import hashlib
import json

from airflow_provider_octospark.api.models import Post
from airflow_provider_octospark.exceptions import OctosparkAnswerError


def content_hash(post: Post) -> str:
    """Return the SHA-256 of a post's text and assets, 64 hexadecimal digits.

    Title, times and submissions are left out: they are not published. Assets count by id and order.

    :param post: the post as the service returns it.
    :raises OctosparkAnswerError: if the service returned neither text nor assets, because all such posts would look the same.
    """
    content = [(post.model_extra or {}).get(name) for name in ("text", "assetIds")]
    if not any(content):
        raise OctosparkAnswerError(
            f"The service returned neither text nor assets of post {post.id}, so it is not known what was approved.",
            target=f"post {post.id}",
        )
    return hashlib.sha256(json.dumps(content, ensure_ascii=False, sort_keys=True).encode()).hexdigest()
