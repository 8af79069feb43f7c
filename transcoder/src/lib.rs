//! Audio files in, CMAF renditions and track.json out.
