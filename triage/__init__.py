"""The service in front of the model: decides, records, queues for people, and never loses an image.

The journal is the truth; Redis is an index that is folded from it and can be folded again.
"""
