"""Events on disk while Kafka is away: synced before they are acknowledged, sent on in order when it is back."""
