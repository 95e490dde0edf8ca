package Fanout::Quickstart;

=head1 NAME

Fanout::Quickstart - conf/quickstart.conf as "make run" starts it, for a test

=head1 SYNOPSIS

    use Fanout::Nginx;
    use Fanout::Quickstart;

    my $nginx = Fanout::Nginx->start(conf => quickstart());

=head1 DESCRIPTION

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

our @EXPORT = qw( quickstart runnable );

my $root = abs_path(dirname(__FILE__) . '/../../..');


sub quickstart {
    open my $f, '<', "$root/conf/quickstart.conf" or die "quickstart: $!";
    local $/;

    return runnable(readline $f);
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
