package Fanout::Quickstart;

=head1 NAME

Fanout::Quickstart - configurations of conf/, for a test

=head1 SYNOPSIS

    use Fanout::Nginx;
    use Fanout::Quickstart;

    my $nginx = Fanout::Nginx->start(conf => quickstart());

=head1 DESCRIPTION

C<production> returns conf/production.conf: the public server on %%TLSPORT%%
(start it with C<< tls => 1 >>), the one that redirects to it on %%PORT1%%, the
one for services on %%PORT%%, the application on %%PORT2%%; logs in %%DIR%%.

C<quickstart> returns the configuration with what a test has to change, which
is what t/tools/run changes: the port, where the module and the page are, and
where NGINX may write. C<runnable(text)> does the same for any text that is a
whole configuration.

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use Exporter qw( import );
use File::Basename qw( dirname );

use Fanout::Nginx ();

our @EXPORT = qw( quickstart production runnable );

my $root = abs_path(dirname(__FILE__) . '/../../..');


sub quickstart { runnable(text('quickstart')) }


sub text {
    my ($name) = @_;

    open my $f, '<', "$root/conf/$name.conf" or die "$name: $!";
    local $/;

    return readline $f;
}


# each has to be there: what is not replaced would touch the system

sub production {
    my $text = text('production');

    for (
        [ qr/listen 80;/          => 'listen 127.0.0.1:%%PORT1%%;' ],
        [ qr/listen 443/          => 'listen 127.0.0.1:%%TLSPORT%%' ],
        [ qr/listen 127\.0\.0\.1:8081;/ => 'listen 127.0.0.1:%%PORT%%;' ],
        [ qr/server 127\.0\.0\.1:3000;/ => 'server 127.0.0.1:%%PORT2%%;' ],
        [ qr/set_real_ip_from \S+;/ => 'set_real_ip_from 127.0.0.1;' ],
        [ qr/worker_processes auto;/ => 'worker_processes 2;' ],
        [ qr/^pid .*?;\n/m        => '' ],
        [ qr/^error_log .*?;\n/m  => '' ],
        [ qr{/etc/nginx/mime\.types} => '%%DIR%%/mime.types' ],
        [ qr{/etc/ssl/certs/[\w.]+\.pem}   => '%%DIR%%/cert.pem' ],
        [ qr{/etc/ssl/private/[\w.]+\.key} => '%%DIR%%/key.pem' ],
        [ qr{/var/log/nginx/}     => '%%DIR%%/' ],
    ) {
        my ($what, $by) = @$_;

        $text =~ s/$what/$by/g or die "production.conf has no $what\n";
    }

    $text = runnable($text);
    $text =~ s/^\s*access_log off;\n//m;

    return $text;
}


sub runnable {
    my ($text) = @_;

    my $module = Fanout::Nginx::module({});
    my $load   = length $module ? "load_module $module;" : '';
    my $user   = $> == 0 ? 'user root;' : '';

    $text =~ s/^load_module\s[^;]*;/$load/m;
    $text =~ s/^\s*user\s[^;]*;//m;
    $text =~ s/\blisten\s+(?:127\.0\.0\.1:)?80(?:80)?;
              /listen 127.0.0.1:%%PORT%%;/x;
    $text =~ s|\broot\s+html;|root $root/conf/html;|g;
    $text =~ s|\broot\s+\.;|root $root;|g;
    $text =~ s|\broot\s+src;|root $root/src;|g;

    my $http = join "\n    ", 'http {', 'access_log off;', map {
        "${_}_temp_path %%DIR%%/temp/$_;"
    } qw( client_body proxy fastcgi uwsgi scgi );

    $text =~ s/^http \{/$http/m;

    return <<"END";
$user
daemon off;
pid %%DIR%%/nginx.pid;
error_log %%DIR%%/error.log info;
$text
END
}


1;
