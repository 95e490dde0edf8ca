package Fanout::Swarm;

=head1 NAME

Fanout::Swarm - the correctness client of t/bench, run beside a test

=head1 SYNOPSIS

    use Fanout::Nginx;
    use Fanout::Swarm;

    my $swarm = Fanout::Swarm->start($nginx, subs => 2000, channels => 64,
                                     duration => 5000);

    $swarm->wait_ready or die $swarm->failure;
    $nginx->kill_worker($pid);

    my $r = $swarm->report;                 # waits until it is done
    $swarm->check('nothing was lost');      # a test; shows what was wrong

=head1 DESCRIPTION

Runs build/bench/swarm, which t/bench/run builds if it is not there. The
options of C<start> are those of C<swarm --help>, with "_" for "-"; a flag is
given the value 1.

=over

=item wait_ready(timeout?)

True once all subscribers have joined and publishing begins.

=item progress

The newest {"progress":...} line (with C<< progress => MS >>), or undef.

=item stop

Ends the publishing; what is on its way still has to arrive.

=item report(timeout?)

Waits for the end and returns what was counted. Dies if there is none.

=item check(name)

A test: the report says that nothing was wrong.

=item failure

What is known when it did not go well: for diag.

=back

=cut

use strict;
use warnings;

use Cwd qw( abs_path );
use File::Basename qw( dirname );
use Fcntl qw( F_GETFL F_SETFL O_NONBLOCK );
use POSIX qw( WNOHANG );
use Test::More ();
use Fanout::Elapsed qw( time );
use Fanout::JSON;
use Fanout::Nginx ();
use Fanout::Socket;

my $root = abs_path(dirname(__FILE__) . '/../../..');
my $built;


sub build {
    return if $built++;

    my $said = qx{$^X $root/t/bench/run --build 2>&1};

    die "the swarm was not built:\n$said" if $?;
}


sub start {
    my ($class, $nginx, %o) = @_;

    build();

    $o{port}  ||= $nginx->port;
    $o{limit} ||= 120;
    $o{$_} *= $Fanout::Socket::SCALE
        for 'limit', grep { $o{$_} } qw( settle connect );

    my @args = map {
        my $name = $_ =~ tr/_/-/r;
        $name =~ /^(?:events$|polls$|(?:obey|drop|allow|need|no)-)/
            ? "--$name" : "--$name=$o{$_}"
    } sort keys %o;

    pipe my $read, my $write or die "pipe: $!";

    my $pid = fork;
    die "fork: $!" if !defined $pid;

    if (!$pid) {
        close $read;
        open STDIN, '<', '/dev/null';
        open STDOUT, '>&', $write;
        Fanout::Nginx::die_with_parent();
        exec "$root/build/bench/swarm", @args or POSIX::_exit(127);
    }

    close $write;
    fcntl $read, F_SETFL, fcntl($read, F_GETFL, 0) | O_NONBLOCK;

    return bless {
        pid => $pid, out => $read, text => '', limit => $o{limit}
    }, $class;
}


sub pid { $_[0]{pid} }


# Reads what has come; false at the end.

sub pump {
    my ($self) = @_;

    return 0 if !$self->{out};

    while (1) {
        my $n = sysread $self->{out}, $self->{text}, 65536,
                        length $self->{text};

        last if !defined $n;

        if (!$n) {
            close delete $self->{out};
            waitpid $self->{pid}, 0;
            $self->{status} = $?;
            last;
        }
    }

    while ($self->{text} =~ s/^(.*)\n//) {
        my $line = Fanout::JSON::decode($1);

        if ($line->{ready}) {
            $self->{ready} = 1;

        } elsif ($line->{progress}) {
            $self->{progress} = $line->{progress};

        } else {
            $self->{report} = $line;
        }
    }

    return !!$self->{out};
}


sub wait_ready {
    my ($self, $timeout) = @_;

    Fanout::Nginx::wait_for(sub { !$self->pump || $self->{ready} },
                            $timeout || 30);

    return $self->{ready};
}


sub progress {
    my ($self) = @_;

    $self->pump;
    return $self->{progress};
}


sub running { $_[0]->pump }


sub stop {
    my ($self) = @_;

    kill 'TERM', $self->{pid} if $self->pump;
}


sub report {
    my ($self, $timeout) = @_;

    Fanout::Nginx::wait_for(sub { !$self->pump },
                            $timeout || $self->{limit} + 30);

    die "the swarm has not ended: " . $self->failure if $self->{out};

    return $self->{report} || die "the swarm died: " . $self->failure;
}


sub failure {
    my ($self) = @_;

    my $r = $self->{report};

    return $r ? Fanout::JSON::encode($r)
              : 'status ' . (defined $self->{status} ? $self->{status} : '-');
}


sub check {
    my ($self, $name) = @_;

    my $r = $self->report;

    local $Test::Builder::Level = $Test::Builder::Level + 1;

    return Test::More::ok($r->{ok} && $self->{status} == 0, $name)
        || Test::More::diag($self->failure) && 0;
}


sub DESTROY {
    my ($self) = @_;

    local ($?, $!);

    return if !$self->{out};

    kill 'KILL', $self->{pid};
    waitpid $self->{pid}, 0;
}


1;
