-- Set the roles' passwords to those in variables. Only of this component: an administrator uses psql's \password.
\getenv owner OWNER_PASSWORD
\getenv app APP_PASSWORD
\getenv worker WORKER_PASSWORD
\getenv delivery DELIVERY_PASSWORD
\getenv reconciler RECONCILER_PASSWORD
\getenv reporter REPORTER_PASSWORD
ALTER ROLE images_owner PASSWORD :'owner';
ALTER ROLE images_app PASSWORD :'app';
ALTER ROLE images_worker PASSWORD :'worker';
ALTER ROLE images_delivery PASSWORD :'delivery';
ALTER ROLE images_reconciler PASSWORD :'reconciler';
ALTER ROLE images_reporter PASSWORD :'reporter';
