"""Out of a service that closes: an account's files, jobs and models, kept in a folder, and recipes
that train the models anew."""
