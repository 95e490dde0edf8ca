package Fanout::Rest;

=head1 NAME

Fanout::Rest - json-server as it comes from npm, for one test

=head1 SYNOPSIS

    use Fanout::Rest;

    my $rest = Fanout::Rest->start({ posts => [] });

    # NGINX: proxy_pass http://127.0.0.1:PORT, PORT being $rest->port

=head1 DESCRIPTION

Starts it with a database of its own on a free port of 127.0.0.1, and ends it
with the test. It is installed by "t/tools/deps rest" to
build/rest/node_modules; without it C<start> dies.

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use File::Path qw( remove_tree );
use File::Temp qw( tempdir );
use POSIX ();

use Fanout::HTTP;
use Fanout::JSON;
use Fanout::Nginx ();

my $root = abs_path(dirname(__FILE__) . '/../../..');


sub start {
    my ($class, $db) = @_;

    my $bin = "$root/build/rest/node_modules/json-server/lib/cli/bin.js";

    -e $bin or die "no $bin: t/tools/deps rest\n";

    my $dir  = tempdir('rest-XXXXXX', TMPDIR => 1);
    my $port = Fanout::Nginx::free_port();

    open my $f, '>', "$dir/db.json" or die $!;
    print $f Fanout::JSON::encode($db);
    close $f;

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        Fanout::Nginx::die_with_parent();
        chdir $dir;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>', "$dir/log";
        open STDERR, '>&', \*STDOUT;
        exec 'node', $bin, '--quiet', '--host', '127.0.0.1', '--port', $port,
             'db.json' or POSIX::_exit(127);
    }

    my $self = bless { pid => $pid, port => $port, dir => $dir,
                       owner => $$ }, $class;

    Fanout::Nginx::wait_for(sub {
        eval { Fanout::HTTP->new(port => $port)->get('/db')->{status} == 200 }
    }, 30) or die "json-server did not start\n";

    return $self;
}


sub port { $_[0]{port} }


sub DESTROY {
    my ($self) = @_;

    return if $$ != $self->{owner};

    local ($?, $!);

    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
    remove_tree($self->{dir});
}


1;
